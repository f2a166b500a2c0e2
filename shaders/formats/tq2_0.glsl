// parts: 64 2
// 128 elements in 32 bytes, the first 32 of them in the lowest pairs of bits.
void decode32(uint base, uint chunk, out float w[32]) {
    float d = half_of(base, part_words(blocks, 64u), chunk / 8u);
    uint quants = (chunk / 4u) * 8u, shift = 2u * (chunk & 3u);
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint q = word(base, quants + n) >> shift;
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * n + i] = d * float(int(q >> (8 * i) & 3u) - 1);
    }
}
