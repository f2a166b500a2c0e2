// parts: 8 128
// d, 16 bits with the two high bits of each scale, a word with their four low bits; quants, 32 elements in 16 bytes as in
// IQ4_NL.
#define ONE_SCALE
#include "iq4_values.glsl"
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint j = chunk & 7u;
    uvec2 head = pair(base, chunk / 8u);
    uvec4 four = quad(base, part_words(blocks, 8u) / 4u + chunk);
    uint s = (head.y >> (4u * j) & 15u) | (head.x >> (16u + 2u * j) & 3u) << 4;
    d = vec2(unpackHalf2x16(head.x).x, 0.0);
    scale = ivec2(int(s) - 32);
    low = ivec2(0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = iq4_values(four[j]);
        q[j + 4] = iq4_values(four[j] >> 4);
    }
}
