// parts: 1 16
#define SMALL_BLOCKS
// Four codes of E2M1 to twice the numbers.
uint e2m1(uint code) {
    uint t = code & 0x07070707u, large = t >> 2 & 0x01010101u;
    // 0, 1, 2, 3 as they are; 4 + u to 4, 6, 8, 12.
    uint u = t & (large | large << 1);
    uint twice = t + u + ((u & u >> 1 & 0x01010101u) << 1);
    uint negative = (code >> 3 & 0x01010101u) * 255u;
    return less(0x0c0c0c0cu + twice - ((twice & negative) << 1), 12u);
}
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uvec4 four = quad(base, part_words(blocks, 1u) / 4u + chunk);
    uint e = byte_of(base, 0u, chunk);  // half of 2^(e - 127)
    d = vec2(uintBitsToFloat(e == 255u ? 0x7fc00000u : e < 2u ? 0x00200000u << e : (e - 1u) << 23), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = e2m1(four[j]);
        q[j + 4] = e2m1(four[j] >> 4);
    }
}
