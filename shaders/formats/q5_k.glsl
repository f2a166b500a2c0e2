// parts: 176
// Words of a block: d and dmin; 12 bytes of scales and minimums as in Q4_K; 32 bytes of fifth bits, elements 0..31 in
// the lowest bits; 128 bytes of quants as in Q4_K.
#define ONE_SCALE
#define HAS_LOW
#include "k_scales.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint block = (chunk / 8u) * 11u, j = chunk & 7u;  // in fours of words
    uvec4 head = quad(base, block);
    d = unpackHalf2x16(head.x);
    uvec2 sm = scale_and_min(j, head.y, head.z, head.w);
    scale = ivec2(sm.x);
    low = ivec2(sm.y);
    uint lows = block + 3u + j / 2u * 2u, shift = (j & 1u) * 4u;
    uvec4 high4[2] = {quad(base, block + 1u), quad(base, block + 2u)};
    uvec4 low4[2] = {quad(base, lows), quad(base, lows + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n)
        q[n] = (low4[n / 4][n & 3] >> shift & 0x0f0f0f0fu) | (high4[n / 4][n & 3] >> j & 0x01010101u) << 4;
}
