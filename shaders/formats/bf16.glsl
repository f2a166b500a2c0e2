// parts: 2
#define FLOATS
float element(uint base, uint i) {
    uint two = word(base, i / 2u);
    return uintBitsToFloat((i & 1u) == 0u ? two << 16 : two & 0xffff0000u);
}
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        uvec4 four = quad(base, chunk * 4u + i);
        [[unroll]] for (uint j = 0; j < 4; ++j) {
            w[8 * i + 2 * j] = uintBitsToFloat(four[j] << 16);
            w[8 * i + 2 * j + 1] = uintBitsToFloat(four[j] & 0xffff0000u);
        }
    }
}
