// parts: 32 16 8
// Low bytes of indices, one for 8 elements; for each four bits, the three high bits of its index and the sign of the
// shift; four times 16 bits: four scales of 16 elements each, and on top four bits of d.
#include "codebook.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint j = chunk & 7u;
    uint lows = word(base, chunk), high = word(base, blocks * 8u + chunk / 2u) >> (16u * (j & 1u));
    uvec2 two = pair(base, blocks * 6u + chunk / 8u);
    uint bits = (two.x >> 12 & 15u) | (two.x >> 28) << 4 | (two.y >> 12 & 15u) << 8 | (two.y >> 28) << 12;
    uint s = two[j / 4u] >> (16u * (j / 2u & 1u) + 6u * (j & 1u));
    d = vec2(unpackHalf2x16(bits).x * 0.125, 0.0);
    scale = ivec2(2u * (s & 7u) + 1u, 2u * (s >> 3 & 7u) + 1u);
    low = ivec2(0);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uint top = high >> (4 * g);
        uvec2 eight = iq1_values(codebook(2048u, (lows >> (8 * g) & 255u) | (top & 7u) << 8), (top & 8u) != 0u);
        q[2 * g] = eight.x;
        q[2 * g + 1] = eight.y;
    }
}
