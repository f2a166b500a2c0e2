// parts: 2
#define FLOATS
vec4 four(uint base, uint i) {
    uvec2 both = pair(base, i / 4u);
    return uintBitsToFloat(uvec4(both.x << 16, both.x & 0xffff0000u, both.y << 16, both.y & 0xffff0000u));
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
