// parts: 2 64 8
// For 8 elements 16 bits: an index of 9 and seven signs. Scales of 4 bits, each of 16 elements.
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint groups = part_words(blocks, 2u), scales = groups + blocks * 16u;
    uvec2 two = pair(base, groups / 2u + chunk);
    uint s = byte_of(base, scales, chunk);
    d = vec2(half_of(base, 0u, chunk / 8u) * 0.125, 0.0);
    scale = ivec2(2u * (s & 15u) + 1u, 2u * (s >> 4) + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint one = two[g / 2] >> (16 * (g & 1));
        uvec2 eight = iq2_values(codebook(512u, one & 511u), even_signs(one >> 9 & 127u));
        q[2 * g] = eight.x;
        q[2 * g + 1] = eight.y;
    }
}
