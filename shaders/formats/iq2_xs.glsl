// parts: 2 64 8
// For 8 elements 16 bits: an index of 9 and seven signs. Scales of 4 bits, each of 16 elements.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint groups = part_words(blocks, 2u), scales = groups + blocks * 16u;
    uvec2 two = pair(base, groups / 2u + chunk);
    float d = half_of(base, 0u, chunk / 8u) * 0.125;
    uint s = byte_of(base, scales, chunk);
    vec2 scale = d * vec2(2u * (s & 15u) + 1u, 2u * (s >> 4) + 1u);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint one = two[g / 2] >> (16 * (g & 1));
        uvec2 q = iq2_values(codebook(512u, one & 511u), even_signs(one >> 9 & 127u));
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[8 * g + i] = scale[g / 2] * signed_byte(q.x, i);
            w[8 * g + i + 4] = scale[g / 2] * signed_byte(q.y, i);
        }
    }
}
