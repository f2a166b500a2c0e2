#version 450
// One result for each element. OP: 0 a + b, 1 a · b, 2 a · factor, 3 a · (the row's only b), 4 factor · tanh(a / factor),
// 5 activation(a), 6 activation(a) · b.
#include "common.glsl"
#include "activations.glsl"
layout(constant_id = 0) const uint OP = 0;
layout(constant_id = 1) const uint KIND = 0;
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
    if (OP == 3) v = v * b[i / cols];
    if (OP == 4) v = factor * tanh_(quotient(v, factor));
    if (OP == 5) v = activation(KIND, v);
    if (OP == 6) v = KIND == kClampedSilu ? clamped_silu(v, b[i]) : activation(KIND, v) * b[i];
    y[i] = v;
}
