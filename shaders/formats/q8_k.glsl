// parts: 4 256 32
// d, an f32; quants; sums, which are not needed.
void decode32(uint base, uint chunk, out float w[32]) {
    float d = uintBitsToFloat(word(base, chunk / 8u));
    uint quants = part_words(blocks, 4u) / 4u + chunk * 2u;
    [[unroll]] for (uint n = 0; n < 2; ++n) {
        uvec4 four = quad(base, quants + n);
        [[unroll]] for (uint j = 0; j < 4; ++j)
            [[unroll]] for (uint i = 0; i < 4; ++i) w[16 * n + 4 * j + i] = d * signed_byte(four[j], i);
    }
}
