// parts: 2 64 32
// A byte of index for 4 elements; a word for 32: four times seven signs, and the scale on top.
#define ONE_SCALE
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint lows = part_words(blocks, 2u);
    uvec2 indices = pair(base, lows / 2u + chunk);
    uint seven = word(base, lows + blocks * 16u + chunk);
    d = vec2(half_of(base, 0u, chunk / 8u) * 0.25, 0.0);
    scale = ivec2(2u * (seven >> 28) + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 8; ++g) {
        uint entry = codebook(256u, indices[g / 4] >> (8 * (g & 3)) & 255u);
        q[g] = negated(entry, even_signs(seven >> (7 * (g / 2)) & 127u) >> (4 * (g & 1)));
    }
}
