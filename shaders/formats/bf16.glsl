// parts: 2
#define ANY_LENGTH
float element(uint base, uint i) {
    uint two = word(base, i / 2u);
    return uintBitsToFloat((i & 1u) == 0u ? two << 16 : two & 0xffff0000u);
}
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 16; ++i) {
        uint two = word(base, chunk * 16u + i);
        w[2 * i] = uintBitsToFloat(two << 16);
        w[2 * i + 1] = uintBitsToFloat(two & 0xffff0000u);
    }
}
