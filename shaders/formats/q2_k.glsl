// parts: 16 64 4
// 16 bytes, each a scale and a minimum of 16 elements; 64 bytes of quants, 128 elements in 32 bytes, the first 32 of them
// in the lowest pairs of bits; d and dmin.
#define HAS_LOW
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint block = chunk / 8u, j = chunk & 7u;
    d = unpackHalf2x16(word(base, blocks * 20u + block));
    uint two = word(base, block * 4u + j / 2u) >> (16u * (j & 1u));
    scale = ivec2(two & 15u, two >> 8 & 15u);
    low = ivec2(two >> 4 & 15u, two >> 12 & 15u);
    uint quants = blocks + block * 4u + j / 4u * 2u, shift = 2u * (j & 3u);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = four[n / 4][n & 3] >> shift & 0x03030303u;
}
