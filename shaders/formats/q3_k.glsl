// parts: 32 64 12 2
// In 256 elements: 32 bytes of third bits, elements 0..31 in the lowest bits; 64 bytes of pairs of bits as in Q2_K; 16
// scales of 6 bits, the low halves of 0..7 in the low halves of bytes 0..7, those of 8..15 in the high halves, the two
// high bits of scale g in byte 8 + g % 4.
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint block = chunk / 8u, j = chunk & 7u;
    uint highs = block * 2u, lows = blocks * 2u + block * 4u + j / 4u * 2u, scales = blocks * 24u;
    d = vec2(half_of(base, scales + part_words(blocks, 12u), block), 0.0);
    uint at = 16u * (j & 1u);
    uint four = word(base, scales + block * 3u + (j & 3u) / 2u) >> (at + 4u * (j / 4u));
    uint two = word(base, scales + block * 3u + 2u) >> (at + 2u * (j / 2u));
    scale = ivec2(int((four & 15u) | (two & 3u) << 4) - 32, int((four >> 8 & 15u) | (two >> 8 & 3u) << 4) - 32);
    low = ivec2(0);
    uint shift = 2u * (j & 3u);
    uvec4 high4[2] = {quad(base, highs), quad(base, highs + 1u)}, low4[2] = {quad(base, lows), quad(base, lows + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n)
        q[n] = less((low4[n / 4][n & 3] >> shift & 0x03030303u) | (high4[n / 4][n & 3] >> j & 0x01010101u) << 2, 4u);
}
