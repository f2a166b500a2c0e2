// parts: 16 64 4
// 16 bytes, each a scale and a minimum of 16 elements; 64 bytes of quants, 128 elements in 32 bytes, the first 32 of them
// in the lowest pairs of bits; d and dmin.
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = chunk / 8u, j = chunk & 7u;
    vec2 d = unpackHalf2x16(word(base, blocks * 20u + block));
    uint two = word(base, block * 4u + j / 2u) >> (16u * (j & 1u));
    vec2 scale = d.x * vec2(two & 15u, two >> 8 & 15u), low = d.y * vec2(two >> 4 & 15u, two >> 12 & 15u);
    uint quants = blocks + block * 4u + j / 4u * 2u, shift = 2u * (j & 3u);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint q = four[n / 4][n & 3] >> shift;
        [[unroll]] for (uint i = 0; i < 4; ++i)
            w[4 * n + i] = scale[n / 4] * float(q >> (8 * i) & 3u) - low[n / 4];
    }
}
