// parts: 2 32
void decode32(uint base, uint chunk, out float w[32]) {
    uint quants = part_words(blocks, 2u) + chunk * 8u;
    float d = half_of(base, 0u, chunk);
    [[unroll]] for (uint j = 0; j < 8; ++j) {
        uint q = word(base, quants + j);
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * j + i] = d * signed_byte(q, i);
    }
}
