#version 450
// Row `slot` of the result is the row of the slot.
#include "common.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols, domain, per_row, slots; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer RoutingBuffer { uint routing[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64), slot = i / cols;
    if (slot < row_count(domain, per_row)) y[i] = x[routing[3 * slots + slot] * cols + i % cols];
}
