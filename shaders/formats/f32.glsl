// parts: 4
#define FLOATS
vec4 four(uint base, uint i) { return uintBitsToFloat(quad(base, i / 4u)); }
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 8; ++i) {
        vec4 four = uintBitsToFloat(quad(base, chunk * 8u + i));
        [[unroll]] for (uint j = 0; j < 4; ++j) w[4 * i + j] = four[j];
    }
}
