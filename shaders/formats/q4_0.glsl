// parts: 2 16
#define SMALL_BLOCKS
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uvec4 four = quad(base, part_words(blocks, 2u) / 4u + chunk);
    d = vec2(half_of(base, 0u, chunk), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = less(four[j] & 0x0f0f0f0fu, 8u);
        q[j + 4] = less(four[j] >> 4 & 0x0f0f0f0fu, 8u);
    }
}
