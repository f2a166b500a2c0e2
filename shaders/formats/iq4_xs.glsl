// parts: 136
// Words of a block: d, and 16 bits with the two high bits of each scale; their four low bits; 128 bytes of quants, 32
// elements in 16 bytes as in IQ4_NL.
#include "iq4_value.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = base + (chunk / 8u) * 34u * 32u, j = chunk & 7u;
    uint first = word(block, 0u);
    uint s = (word(block, 1u) >> (4u * j) & 15u) | (first >> (16u + 2u * j) & 3u) << 4;
    float scale = unpackHalf2x16(first).x * float(int(s) - 32);
    [[unroll]] for (uint n = 0; n < 4; ++n) {
        uint q = word(block, 2u + j * 4u + n);
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * n + i] = scale * iq4_value(q >> (8 * i) & 15u);
            w[4 * n + i + 16] = scale * iq4_value(q >> (8 * i + 4) & 15u);
        }
    }
}
