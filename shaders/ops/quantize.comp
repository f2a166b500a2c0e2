#version 450
// Rows of f32 to signed bytes with a scale for BLOCK chunks of 32, as the CPU quantises them (docs/numerics.md, "Quantised
// activations"). A chunk becomes its bytes, four in a word (PACKED) or each as an f32 (FLOATS), then four f32: its scale,
// the sums of its first and its second 16 numbers, and the sum of both. A lane has one chunk.
// variants: PACKED FLOATS
#include "common.glsl"
#include "exact.glsl"
layout(constant_id = 0) const uint BLOCK = 8;  // 1 or 8
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint cols, domain, per_row; };
layout(set = 0, binding = 1) readonly buffer InBuffer { uvec4 x[]; };
layout(set = 0, binding = 2) writeonly buffer OutBuffer { uvec4 y[]; };

void main() {
    uint chunks = cols / 32, lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    uint all = row_count(domain, per_row) * chunks, mine = flat_group() * 64 + lane, chunk = min(mine, all - 1);
    vec4 v[8];
    uint top = 0;  // the order of numbers without a sign is that of their bits, and what is not finite comes last
    [[unroll]] for (uint j = 0; j < 8; ++j) {
        uvec4 four = x[chunk * 8 + j];
        v[j] = uintBitsToFloat(four);
        four &= 0x7fffffffu;
        top = max(top, max(max(four.x, four.y), max(four.z, four.w)));
    }
    if (BLOCK == 8) {
        top = max(top, subgroupShuffleXor(top, 1));
        top = max(top, subgroupShuffleXor(top, 2));
        top = max(top, subgroupShuffleXor(top, 4));
    }
    if (mine >= all) return;
    float amax = uintBitsToFloat(top), inverse = 0.0;
    uint d = 0u;
    if (top >= 0x7f800000u) {
        d = 0x7fc00000u;
    } else if (amax >= 7.888609052210118e-31) {
        d = floatBitsToUint(quotient(amax, 127.0));
        inverse = quotient(127.0, amax);
    }
    float sum[2] = {0.0, 0.0};
    uint words[8];
    [[unroll]] for (uint j = 0; j < 8; ++j) {
        // A product with 0 must not be a NaN here.
        vec4 q = inverse == 0.0 ? vec4(0.0) : clamp(roundEven(v[j] * inverse), -127.0, 127.0);
        sum[j / 4] += q.x + q.y + q.z + q.w;
#ifdef VARIANT_FLOATS
        y[chunk * 9 + j] = floatBitsToUint(q);
#else
        uvec4 b = uvec4(ivec4(q)) & 255u;
        words[j] = b.x | b.y << 8 | b.z << 16 | b.w << 24;
#endif
    }
    uvec4 tail = uvec4(d, floatBitsToUint(vec3(sum[0], sum[1], sum[0] + sum[1])));
#ifdef VARIANT_FLOATS
    y[chunk * 9 + 8] = tail;
#else
    y[chunk * 3] = uvec4(words[0], words[1], words[2], words[3]);
    y[chunk * 3 + 1] = uvec4(words[4], words[5], words[6], words[7]);
    y[chunk * 3 + 2] = tail;
#endif
}
