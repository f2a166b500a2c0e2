// parts: 1 16
// Four codes of E2M1 to bytes of 12 + twice the number.
uint e2m1(uint code) {
    uint t = code & 0x07070707u, large = t >> 2 & 0x01010101u;
    // 0, 1, 2, 3 as they are; 4 + u to 4, 6, 8, 12.
    uint u = t & (large | large << 1);
    uint twice = t + u + ((u & u >> 1 & 0x01010101u) << 1);
    uint negative = (code >> 3 & 0x01010101u) * 255u;
    return 0x0c0c0c0cu + twice - ((twice & negative) << 1);
}
void decode32(uint base, uint chunk, out float w[32]) {
    uvec4 four = quad(base, part_words(blocks, 1u) / 4u + chunk);
    uint e = byte_of(base, 0u, chunk);  // half of 2^(e - 127)
    float d = uintBitsToFloat(e == 255u ? 0x7fc00000u : e < 2u ? 0x00200000u << e : (e - 1u) << 23);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        uint q = four[j], low = e2m1(q), high = e2m1(q >> 4);
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * j + i] = d * float(int(low >> (8 * i) & 255u) - 12);
            w[4 * j + i + 16] = d * float(int(high >> (8 * i) & 255u) - 12);
        }
    }
}
