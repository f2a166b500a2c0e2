// parts: 2
#define FLOATS
vec4 four(uint base, uint i) {
    uvec2 both = pair(base, i / 4u);
    return vec4(unpackHalf2x16(both.x), unpackHalf2x16(both.y));
}
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        uvec4 four = quad(base, chunk * 4u + i);
        [[unroll]] for (uint j = 0; j < 4; ++j) {
            vec2 two = unpackHalf2x16(four[j]);
            w[8 * i + 2 * j] = two.x;
            w[8 * i + 2 * j + 1] = two.y;
        }
    }
}
