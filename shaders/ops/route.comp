#version 450
// The best `used` experts of a row and their weights: a softmax over all, the best first, ties to the lower number.
#include "common.glsl"
layout(local_size_x = 32) in;
layout(push_constant) uniform Push { uint experts, used, domain, per_row, normalise, slots; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) buffer RoutingBuffer { uint routing[]; };

void main() {
    uint row = flat_index(32);
    if (row >= row_count(domain, per_row)) return;
    float most = x[row * experts];
    for (uint e = 1; e < experts; ++e) most = max(most, x[row * experts + e]);
    float sum = 0.0;
    for (uint e = 0; e < experts; ++e) sum += exp(x[row * experts + e] - most);
    float chosen = 0.0;
    for (uint rank = 0; rank < used; ++rank) {
        uint best = experts;
        for (uint e = 0; e < experts; ++e) {
            bool taken = false;
            for (uint before = 0; before < rank; ++before) taken = taken || routing[row * used + before] == e;
            if (!taken && (best == experts || x[row * experts + e] > x[row * experts + best])) best = e;
        }
        float p = exp(x[row * experts + best] - most) / sum;
        routing[row * used + rank] = best;
        routing[slots + row * used + rank] = floatBitsToUint(p);
        chosen += p;
    }
    if (normalise != 0)
        for (uint rank = 0; rank < used; ++rank)
            routing[slots + row * used + rank] = floatBitsToUint(uintBitsToFloat(routing[slots + row * used + rank]) / chosen);
}
