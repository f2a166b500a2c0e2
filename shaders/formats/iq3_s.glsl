// parts: 2 64 8 32 4
// Low bytes of indices, one for 4 elements; the indices' high bits; signs; scales of 4 bits, each of 32 elements.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint lows = part_words(blocks, 2u), highs = lows + blocks * 16u, signs = highs + part_words(blocks, 8u);
    uvec2 low = pair(base, lows / 2u + chunk);
    uint high = byte_of(base, highs, chunk), negative = word(base, signs + chunk);
    uint s = word(base, signs + blocks * 8u + chunk / 8u) >> (4u * (chunk & 7u)) & 15u;
    float scale = half_of(base, 0u, chunk / 8u) * float(2u * s + 1u);
    [[unroll]] for (uint g = 0; g < 8; ++g) {
        uint entry = codebook(512u, (low[g / 4] >> (8 * (g & 3)) & 255u) | (high >> g & 1u) << 8);
        uint q = negated(entry, negative >> (4 * g));
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * g + i] = scale * signed_byte(q, i);
    }
}
