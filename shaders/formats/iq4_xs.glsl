// parts: 8 128
// d, 16 bits with the two high bits of each scale, a word with their four low bits; quants, 32 elements in 16 bytes as in
// IQ4_NL.
#include "iq4_value.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint j = chunk & 7u;
    uvec2 head = pair(base, chunk / 8u);
    uvec4 four = quad(base, part_words(blocks, 8u) / 4u + chunk);
    uint s = (head.y >> (4u * j) & 15u) | (head.x >> (16u + 2u * j) & 3u) << 4;
    float scale = unpackHalf2x16(head.x).x * float(int(s) - 32);
    [[unroll]] for (uint n = 0; n < 4; ++n) {
        uint q = four[n];
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * n + i] = scale * iq4_value(q >> (8 * i) & 15u);
            w[4 * n + i + 16] = scale * iq4_value(q >> (8 * i + 4) & 15u);
        }
    }
}
