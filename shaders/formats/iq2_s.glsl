// parts: 2 32 32 8 8
// Low bytes of indices, one for 8 elements; their signs; the indices' two high bits; scales of 4 bits, each of 16
// elements.
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint part = part_words(blocks, 2u), highs = part + blocks * 16u;
    uint lows = word(base, part + chunk), signs = word(base, part + blocks * 8u + chunk);
    uint high = byte_of(base, highs, chunk), s = byte_of(base, highs + part_words(blocks, 8u), chunk);
    d = vec2(half_of(base, 0u, chunk / 8u) * 0.125, 0.0);
    scale = ivec2(2u * (s & 15u) + 1u, 2u * (s >> 4) + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint entry = codebook(1024u, (lows >> (8 * g) & 255u) | (high >> (2 * g) & 3u) << 8);
        uvec2 eight = iq2_values(entry, signs >> (8 * g));
        q[2 * g] = eight.x;
        q[2 * g + 1] = eight.y;
    }
}
