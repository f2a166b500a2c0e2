// parts: 2
#define FLOATS
vec2 two(uint base, uint i) {
    uint both = word(base, i / 2u);
    return uintBitsToFloat(uvec2(both << 16, both & 0xffff0000u));
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
