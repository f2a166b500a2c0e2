// parts: 292
// Words of a block: d, an f32; 256 bytes of quants; sums, which are not needed.
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = base + (chunk / 8u) * 73u * 32u, j = chunk & 7u;
    float d = uintBitsToFloat(word(block, 0u));
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint q = word(block, 1u + j * 8u + n);
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * n + i] = d * signed_byte(q, i);
    }
}
