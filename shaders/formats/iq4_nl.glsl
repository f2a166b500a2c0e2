// parts: 2 16
#define SMALL_BLOCKS
#include "iq4_values.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uvec4 four = quad(base, part_words(blocks, 2u) / 4u + chunk);
    d = vec2(half_of(base, 0u, chunk), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = iq4_values(four[j]);
        q[j + 4] = iq4_values(four[j] >> 4);
    }
}
