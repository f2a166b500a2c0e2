#version 450
// One result for each element. OP: 0 a + b, 1 a · b, 2 a · factor, 3 silu(a) · b.
#include "common.glsl"
layout(constant_id = 0) const uint OP = 0;
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols, domain, per_row; float factor; };
layout(set = 0, binding = 1) readonly buffer ABuffer { float a[]; };
layout(set = 0, binding = 2) readonly buffer BBuffer { float b[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64);
    if (i >= row_count(domain, per_row) * cols) return;
    float v = a[i];
    if (OP == 0) v = v + b[i];
    if (OP == 1) v = v * b[i];
    if (OP == 2) v = v * factor;
    if (OP == 3) v = v / (1.0 + exp(-v)) * b[i];
    y[i] = v;
}
