// parts: 2 32 16
// Low bytes of indices, one for 8 elements; for 32 elements 16 bits: four times the three high bits of an index, the
// scale, and the sign of the shift.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint lows = part_words(blocks, 2u);
    uint low = word(base, lows + chunk);
    uint high = word(base, lows + blocks * 8u + chunk / 2u) >> (16u * (chunk & 1u));
    float scale = half_of(base, 0u, chunk / 8u) * 0.125 * float(2u * (high >> 12 & 7u) + 1u);
    // scale * (8 * (digit - 1) + shift)
    float each = 8.0 * scale, zero = scale * ((high & 0x8000u) != 0u ? -9.0 : -7.0);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint entry = codebook(2048u, (low >> (8 * g) & 255u) | (high >> (3 * g) & 7u) << 8);
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[8 * g + i] = each * float(entry >> (8 * i) & 15u) + zero;
            w[8 * g + i + 4] = each * float(entry >> (8 * i + 4) & 15u) + zero;
        }
    }
}
