#version 450
// Rotates pairs of each head's first 2 · half dimensions; the others are copied. HALVES: pairs (i, i + half), else (2i, 2i + 1).
#include "common.glsl"
#include "exact.glsl"
layout(constant_id = 0) const bool HALVES = false;
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols, head_dim, half_, angles; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer AngleBuffer { float angle[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64), t = i / cols, d = i % head_dim;
    if (t >= batch[kTokens]) return;
    if (d >= 2 * half_) {
        y[i] = x[i];
        return;
    }
    uint pair = HALVES ? d % half_ : d / 2;
    bool second = HALVES ? d >= half_ : (d & 1u) == 1u;
    uint step_ = HALVES ? half_ : 1;
    float c = angle[angles + t * 2 * half_ + pair], s = angle[angles + t * 2 * half_ + half_ + pair];
    float x0 = x[second ? i - step_ : i], x1 = x[second ? i : i + step_];
    y[i] = second ? fma(x0, s, x1 * c) : fma(x0, c, -(x1 * s));
}
