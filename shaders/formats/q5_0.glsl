// parts: 2 4 16
#define SMALL_BLOCKS
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint highs = part_words(blocks, 2u);
    uint high = word(base, highs + chunk);
    uvec4 four = quad(base, (highs + part_words(blocks, 4u)) / 4u + chunk);
    d = vec2(half_of(base, 0u, chunk), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = less((four[j] & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j)) << 4, 16u);
        q[j + 4] = less((four[j] >> 4 & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j + 16)) << 4, 16u);
    }
}
