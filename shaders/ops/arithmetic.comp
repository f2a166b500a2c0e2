#version 450
// What tells whether the device's arithmetic is that of docs/numerics.md (src/backend/vulkan/arithmetic.cpp): of each three
// numbers a, b, c eight results.
#include "common.glsl"
#include "exact.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint n; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) writeonly buffer OutBuffer { float y[]; };

void main() {
    uint i = flat_index(64);
    if (i >= n) return;
    float a = x[3 * i], b = x[3 * i + 1], c = x[3 * i + 2];
    y[8 * i] = fma(a, b, c);
    y[8 * i + 1] = a * b + c;
    y[8 * i + 2] = a / b;
    y[8 * i + 3] = sqrt(abs(a));
    y[8 * i + 4] = quotient(a, b);
    y[8 * i + 5] = root(abs(a));
    y[8 * i + 6] = exp_(c);
    y[8 * i + 7] = unpackHalf2x16(floatBitsToUint(a)).x;
}
