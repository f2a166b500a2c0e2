// parts: 2
#define ANY_LENGTH
float element(uint base, uint i) { return half_of(base, 0u, i); }
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 16; ++i) {
        vec2 two = unpackHalf2x16(word(base, chunk * 16u + i));
        w[2 * i] = two.x;
        w[2 * i + 1] = two.y;
    }
}
