// parts: 144
// Words of a block: d and dmin; 12 bytes of 6-bit scales and minimums; 128 bytes of quants, 64 elements in 32 bytes, the
// first 32 of them in the low halves.
#define ONE_SCALE
#define HAS_LOW
#include "k_scales.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint block = (chunk / 8u) * 9u, j = chunk & 7u;  // in fours of words
    uvec4 head = quad(base, block);
    d = unpackHalf2x16(head.x);
    uvec2 sm = scale_and_min(j, head.y, head.z, head.w);
    scale = ivec2(sm.x);
    low = ivec2(sm.y);
    uint quants = block + 1u + (j / 2u) * 2u, shift = (j & 1u) * 4u;
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = four[n / 4][n & 3] >> shift & 0x0f0f0f0fu;
}
