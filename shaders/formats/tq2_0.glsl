// parts: 64 2
// 128 elements in 32 bytes, the first 32 of them in the lowest pairs of bits.
void decode32(uint base, uint chunk, out float w[32]) {
    float d = half_of(base, blocks * 16u, chunk / 8u);
    uint quants = chunk / 4u * 2u, shift = 2u * (chunk & 3u);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint q = four[n / 4][n & 3] >> shift;
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * n + i] = d * float(int(q >> (8 * i) & 3u) - 1);
    }
}
