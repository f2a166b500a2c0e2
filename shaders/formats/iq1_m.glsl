// parts: 32 16 8
// Low bytes of indices, one for 8 elements; for each four bits, the three high bits of its index and the sign of the
// shift; four times 16 bits: four scales of 16 elements each, and on top four bits of d.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint j = chunk & 7u;
    uint low = word(base, chunk), high = word(base, blocks * 8u + chunk / 2u) >> (16u * (j & 1u));
    uvec2 two = pair(base, blocks * 6u + chunk / 8u);
    uint bits = (two.x >> 12 & 15u) | (two.x >> 28) << 4 | (two.y >> 12 & 15u) << 8 | (two.y >> 28) << 12;
    uint s = two[j / 4u] >> (16u * (j / 2u & 1u) + 6u * (j & 1u));
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
