// parts: 4 4 16
void decode32(uint base, uint chunk, out float w[32]) {
    vec2 d = unpackHalf2x16(word(base, chunk));
    uint high = word(base, part_words(blocks, 4u) + chunk);
    uvec4 four = quad(base, part_words(blocks, 4u) / 2u + chunk);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        uint q = four[j];
        uint low = (q & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j)) << 4;
        uint top = (q >> 4 & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j + 16)) << 4;
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * j + i] = d.x * float(low >> (8 * i) & 255u) + d.y;
            w[4 * j + i + 16] = d.x * float(top >> (8 * i) & 255u) + d.y;
        }
    }
}
