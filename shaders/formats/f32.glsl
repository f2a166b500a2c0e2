// parts: 4
#define ANY_LENGTH
float element(uint base, uint i) { return uintBitsToFloat(word(base, i)); }
void decode32(uint base, uint chunk, out float w[32]) {
    [[unroll]] for (uint i = 0; i < 32; ++i) w[i] = uintBitsToFloat(word(base, chunk * 32u + i));
}
