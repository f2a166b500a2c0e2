#version 450
// Rows of f32 to f16 with a scale for each row, a power of two that leaves the largest number of the row in
// [16, 32): no f16 overflows, and products with weights below 64 may be added in f16, 16 at a time. A row
// becomes its chunks of 32, 64 bytes each, zeros behind its end, then four f32: what the results are to be
// multiplied by, three unused. It is NaN where a number of the row is none or infinite, and the f16 are zeros
// then. A workgroup has one row.
#include "common.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols, domain, per_row; };
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) writeonly buffer OutBuffer { uint y[]; };

shared uint tops[64];

void main() {
    uint row = flat_group(), lane = gl_LocalInvocationID.x;
    if (row >= row_count(domain, per_row)) return;
    uint words = (cols + 31) / 32 * 16, to = row * (words + 4), from = row * cols;
    // The order of numbers without a sign is that of their bits, and what is not finite comes last.
    uint top = 0;
    for (uint k = lane; k < cols; k += 64) top = max(top, floatBitsToUint(x[from + k]) & 0x7fffffffu);
    tops[lane] = top;
    for (uint apart = 32; apart > 0; apart /= 2) {
        barrier();
        if (lane < apart) tops[lane] = max(tops[lane], tops[lane + apart]);
    }
    barrier();
    top = tops[0];
    bool numbers = top < 0x7f800000u;
    // Both powers must be normal numbers: below 2^-118 the largest number stays below 16.
    uint e = clamp(top >> 23, 9u, 254u);
    float down = uintBitsToFloat((258u - e) << 23), up = uintBitsToFloat((e - 4u) << 23);
    for (uint i = lane; i < words; i += 64) {
        vec2 two = vec2(0.0);
        if (numbers && 2 * i < cols) two.x = x[from + 2 * i] * down;
        if (numbers && 2 * i + 1 < cols) two.y = x[from + 2 * i + 1] * down;
        y[to + i] = packHalf2x16(two);
    }
    if (lane < 4) y[to + words + lane] = lane > 0 ? 0u : numbers ? floatBitsToUint(up) : 0x7fc00000u;
}
