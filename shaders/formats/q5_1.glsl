// parts: 4 4 16
#define SMALL_BLOCKS
#define HAS_LOW
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    d = unpackHalf2x16(word(base, chunk)) * vec2(1.0, -1.0);
    uint high = word(base, part_words(blocks, 4u) + chunk);
    uvec4 four = quad(base, part_words(blocks, 4u) / 2u + chunk);
    scale = ivec2(1);
    low = ivec2(1);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = (four[j] & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j)) << 4;
        q[j + 4] = (four[j] >> 4 & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j + 16)) << 4;
    }
}
