// parts: 176
// Words of a block: d and dmin; 12 bytes of scales and minimums as in Q4_K; 32 bytes of fifth bits, elements 0..31 in
// the lowest bits; 128 bytes of quants as in Q4_K.
#include "k_scales.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = base + (chunk / 8u) * 44u * 32u, j = chunk & 7u;
    vec2 d = unpackHalf2x16(word(block, 0u));
    uvec2 sm = scale_and_min(j, word(block, 1u), word(block, 2u), word(block, 3u));
    float scale = d.x * float(sm.x), low = d.y * float(sm.y);
    uint shift = (j & 1u) * 4u;
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint q = (word(block, 12u + (j / 2u) * 8u + n) >> shift & 0x0f0f0f0fu) |
                 (word(block, 4u + n) >> j & 0x01010101u) << 4;
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * n + i] = scale * float(q >> (8 * i) & 255u) - low;
    }
}
