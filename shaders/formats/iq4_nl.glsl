// parts: 2 16
#include "iq4_value.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uvec4 four = quad(base, part_words(blocks, 2u) / 4u + chunk);
    float d = half_of(base, 0u, chunk);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        uint q = four[j];
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[4 * j + i] = d * iq4_value(q >> (8 * i) & 15u);
            w[4 * j + i + 16] = d * iq4_value(q >> (8 * i + 4) & 15u);
        }
    }
}
