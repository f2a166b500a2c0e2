// parts: 2 4 16
void decode32(uint base, uint chunk, out float w[32]) {
    uint highs = part_words(blocks, 2u);
    float d = half_of(base, 0u, chunk);
    uint high = word(base, highs + chunk);
    uvec4 four = quad(base, (highs + part_words(blocks, 4u)) / 4u + chunk);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        uint q = four[j];
        uint low = (q & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j)) << 4;
        uint top = (q >> 4 & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j + 16)) << 4;
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * j + i] = d * float(int(low >> (8 * i) & 255u) - 16);
            w[4 * j + i + 16] = d * float(int(top >> (8 * i) & 255u) - 16);
        }
    }
}
