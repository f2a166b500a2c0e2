// parts: 2 64
// 32 elements in two words: four indices; four times seven signs, and the scale on top.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uvec2 two = pair(base, part_words(blocks, 2u) / 2u + chunk);
    float scale = half_of(base, 0u, chunk / 8u) * 0.125 * float(2u * (two.y >> 28) + 1u);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uvec2 q = iq2_values(codebook(256u, two.x >> (8 * g) & 255u), even_signs(two.y >> (7 * g) & 127u));
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[8 * g + i] = scale * signed_byte(q.x, i);
            w[8 * g + i + 4] = scale * signed_byte(q.y, i);
        }
    }
}
