// parts: 56
// Words of a block: 32 low bytes of indices, one for 8 elements; for each four bits, the three high bits of its index and
// the sign of the shift; four times 16 bits: four scales of 16 elements each, and on top four bits of d.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = base + (chunk / 8u) * 14u * 32u, j = chunk & 7u;
    uint low = word(block, j), high = word(block, 8u + j / 2u) >> (16u * (j & 1u));
    uint a = word(block, 12u), b = word(block, 13u);
    uint bits = (a >> 12 & 15u) | (a >> 28) << 4 | (b >> 12 & 15u) << 8 | (b >> 28) << 12;
    uint s = (j < 4u ? a : b) >> (16u * (j / 2u & 1u) + 6u * (j & 1u));
    vec2 scale = unpackHalf2x16(bits).x * 0.125 * vec2(2u * (s & 7u) + 1u, 2u * (s >> 3 & 7u) + 1u);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint top = high >> (4 * g), entry = codebook(2048u, (low >> (8 * g) & 255u) | (top & 7u) << 8);
        // scale * (8 * (digit - 1) + shift)
        float each = 8.0 * scale[g / 2], zero = scale[g / 2] * ((top & 8u) != 0u ? -9.0 : -7.0);
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[8 * g + i] = each * float(entry >> (8 * i) & 15u) + zero;
            w[8 * g + i + 4] = each * float(entry >> (8 * i + 4) & 15u) + zero;
        }
    }
}
