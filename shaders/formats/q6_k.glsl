// parts: 128 64 16 2
// In 128 elements: 64 bytes of low halves, 32 bytes of high pairs of bits; elements 0..31 low halves of bytes 0..31,
// 32..63 of bytes 32..63, 64..95 their high halves, and so on.
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint block = chunk / 8u, half_ = chunk / 4u & 1u, quarter = chunk & 3u;
    uint lows = block * 32u + half_ * 16u + (quarter & 1u) * 8u;
    uint highs = part_words(blocks, 128u) + block * 16u + half_ * 8u;
    uint scales = part_words(blocks, 128u) + part_words(blocks, 64u);
    d = vec2(half_of(base, scales + part_words(blocks, 16u), block), 0.0);
    uint two = word(base, scales + block * 4u + half_ * 2u + quarter / 2u) >> (16u * (quarter & 1u));
    scale = bitfieldExtract(ivec2(two, two >> 8), 0, 8);
    low = ivec2(0);
    uint shift = (quarter / 2u) * 4u;
    uvec4 low4[2] = {quad(base, lows / 4u), quad(base, lows / 4u + 1u)};
    uvec4 high4[2] = {quad(base, highs / 4u), quad(base, highs / 4u + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint two = high4[n / 4][n & 3] >> (2u * quarter) & 0x03030303u;
        q[n] = less((low4[n / 4][n & 3] >> shift & 0x0f0f0f0fu) | two << 4, 32u);
    }
}
