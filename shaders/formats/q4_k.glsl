// parts: 144
// Words of a block: d and dmin; 12 bytes of 6-bit scales and minimums; 128 bytes of quants, 64 elements in 32 bytes, the
// first 32 of them in the low halves.
#include "k_scales.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = (chunk / 8u) * 9u, j = chunk & 7u;  // in fours of words
    uvec4 head = quad(base, block);
    vec2 d = unpackHalf2x16(head.x);
    uvec2 sm = scale_and_min(j, head.y, head.z, head.w);
    float scale = d.x * float(sm.x), low = d.y * float(sm.y);
    uint shift = (j & 1u) * 4u;
    uvec4 lower = quad(base, block + 1u + (j / 2u) * 2u), upper = quad(base, block + 2u + (j / 2u) * 2u);
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        uint q = (n < 4 ? lower[n & 3] : upper[n & 3]) >> shift;
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * n + i] = scale * float(q >> (8 * i) & 15u) - low;
    }
}
