// parts: 2 32
void decode32(uint base, uint chunk, out float w[32]) {
    uint quants = part_words(blocks, 2u) / 4u + chunk * 2u;
    float d = half_of(base, 0u, chunk);
    [[unroll]] for (uint n = 0; n < 2; ++n) {
        uvec4 four = quad(base, quants + n);
        [[unroll]] for (uint j = 0; j < 4; ++j)
            [[unroll]] for (uint i = 0; i < 4; ++i) w[16 * n + 4 * j + i] = d * signed_byte(four[j], i);
    }
}
