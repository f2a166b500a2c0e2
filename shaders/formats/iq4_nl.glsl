// parts: 2 16
#define ONE_SCALE
#include "iq4_values.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 scale, out vec2 low) {
    uvec4 four = quad(base, part_words(blocks, 2u) / 4u + chunk);
    scale = vec2(half_of(base, 0u, chunk));
    low = vec2(0.0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = iq4_values(four[j]);
        q[j + 4] = iq4_values(four[j] >> 4);
    }
}
