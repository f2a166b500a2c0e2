// parts: 4 16
void decode32(uint base, uint chunk, out float w[32]) {
    vec2 d = unpackHalf2x16(word(base, chunk));
    uvec4 four = quad(base, part_words(blocks, 4u) / 4u + chunk);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        uint q = four[j];
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * j + i] = d.x * float(q >> (8 * i) & 15u) + d.y;
            w[4 * j + i + 16] = d.x * float(q >> (8 * i + 4) & 15u) + d.y;
        }
    }
}
