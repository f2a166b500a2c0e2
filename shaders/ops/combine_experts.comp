#version 450
// y[row] = x[slot] · weight of the best expert, then for each other one fma(x[slot], weight, y[row]).
#include "common.glsl"
#include "exact.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols, used, domain, per_row, slots; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer RoutingBuffer { uint routing[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64), row = i / cols;
    if (row >= row_count(domain, per_row)) return;
    float sum = 0.0;
    for (uint rank = 0; rank < used; ++rank) {
        uint slot = routing[2 * slots + row * used + rank];
        float weight = uintBitsToFloat(routing[slots + row * used + rank]), v = x[slot * cols + i % cols];
        sum = rank == 0 ? v * weight : fma(v, weight, sum);
    }
    y[i] = sum;
}
