// parts: 2
#define FLOATS
vec2 two(uint base, uint i) { return unpackHalf2x16(word(base, i / 2u)); }
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
