// parts: 2 32 16
// Low bytes of indices, one for 8 elements; for 32 elements 16 bits: four times the three high bits of an index, the
// scale, and the sign of the shift.
#define ONE_SCALE
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint part = part_words(blocks, 2u);
    uint lows = word(base, part + chunk);
    uint high = word(base, part + blocks * 8u + chunk / 2u) >> (16u * (chunk & 1u));
    d = vec2(half_of(base, 0u, chunk / 8u) * 0.125, 0.0);
    scale = ivec2(2u * (high >> 12 & 7u) + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint entry = codebook(2048u, (lows >> (8 * g) & 255u) | (high >> (3 * g) & 7u) << 8);
        uvec2 eight = iq1_values(entry, (high & 0x8000u) != 0u);
        q[2 * g] = eight.x;
        q[2 * g + 1] = eight.y;
    }
}
