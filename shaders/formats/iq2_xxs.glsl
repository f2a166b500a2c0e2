// parts: 2 64
// 32 elements in two words: four indices; four times seven signs, and the scale on top.
#define ONE_SCALE
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uvec2 two = pair(base, part_words(blocks, 2u) / 2u + chunk);
    d = vec2(half_of(base, 0u, chunk / 8u) * 0.125, 0.0);
    scale = ivec2(2u * (two.y >> 28) + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uvec2 eight = iq2_values(codebook(256u, two.x >> (8 * g) & 255u), even_signs(two.y >> (7 * g) & 127u));
        q[2 * g] = eight.x;
        q[2 * g + 1] = eight.y;
    }
}
