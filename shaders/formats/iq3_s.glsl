// parts: 2 64 8 32 4
// Low bytes of indices, one for 4 elements; the indices' high bits; signs; scales of 4 bits, each of 32 elements.
#define ONE_SCALE
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint part = part_words(blocks, 2u), highs = part + blocks * 16u, signs = highs + part_words(blocks, 8u);
    uvec2 lows = pair(base, part / 2u + chunk);
    uint high = byte_of(base, highs, chunk), negative = word(base, signs + chunk);
    uint s = word(base, signs + blocks * 8u + chunk / 8u) >> (4u * (chunk & 7u)) & 15u;
    d = vec2(half_of(base, 0u, chunk / 8u), 0.0);
    scale = ivec2(2u * s + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 8; ++g) {
        uint entry = codebook(512u, (lows[g / 4] >> (8 * (g & 3)) & 255u) | (high >> g & 1u) << 8);
        q[g] = negated(entry, negative >> (4 * g));
    }
}
