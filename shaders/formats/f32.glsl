// parts: 4
#define FLOATS
vec2 two(uint base, uint i) { return uintBitsToFloat(pair(base, i / 2u)); }
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 8; ++i) {
        vec4 four = uintBitsToFloat(quad(base, chunk * 8u + i));
        [[unroll]] for (uint j = 0; j < 4; ++j) w[4 * i + j] = four[j];
    }
}
