// parts: 2 64 32
// A byte of index for 4 elements; a word for 32: four times seven signs, and the scale on top.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint lows = part_words(blocks, 2u);
    uvec2 indices = pair(base, lows / 2u + chunk);
    uint seven = word(base, lows + blocks * 16u + chunk);
    float scale = half_of(base, 0u, chunk / 8u) * 0.25 * float(2u * (seven >> 28) + 1u);
    [[unroll]] for (uint g = 0; g < 8; ++g) {
        uint entry = codebook(256u, indices[g / 4] >> (8 * (g & 3)) & 255u);
        uint q = negated(entry, even_signs(seven >> (7 * (g / 2)) & 127u) >> (4 * (g & 1)));
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * g + i] = scale * signed_byte(q, i);
    }
}
