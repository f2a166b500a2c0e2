#version 450
// Gives every (row, rank) a slot, so that the slots of an expert stand together. One workgroup.
#include "common.glsl"
layout(local_size_x = 256) in;
layout(push_constant) uniform Push { uint experts, used, domain, per_row, slots; };
layout(set = 0, binding = 1) buffer RoutingBuffer { uint routing[]; };
const uint kMaxExperts = 1024;
shared uint next[kMaxExperts];

void main() {
    uint lane = gl_LocalInvocationID.x, n = row_count(domain, per_row) * used;
    for (uint e = lane; e < experts; e += 256) next[e] = 0;
    barrier();
    for (uint i = lane; i < n; i += 256) atomicAdd(next[routing[i]], 1u);
    barrier();
    if (lane == 0) {
        uint at = 0;
        for (uint e = 0; e < experts; ++e) {
            uint count = next[e];
            routing[4 * slots + e] = at;
            next[e] = at;
            at += count;
        }
        routing[4 * slots + experts] = at;
    }
    barrier();
    for (uint i = lane; i < n; i += 256) {
        uint slot = atomicAdd(next[routing[i]], 1u);
        routing[2 * slots + i] = slot;
        routing[3 * slots + slot] = i / used;
    }
}
