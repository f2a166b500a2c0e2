// parts: 4 4 16
#define ONE_SCALE
#define HAS_LOW
void unpack32(uint base, uint chunk, out uint q[8], out vec2 scale, out vec2 low) {
    vec2 d = unpackHalf2x16(word(base, chunk));
    uint high = word(base, part_words(blocks, 4u) + chunk);
    uvec4 four = quad(base, part_words(blocks, 4u) / 2u + chunk);
    scale = vec2(d.x);
    low = vec2(-d.y);
    [[unroll]] for (uint j = 0; j < 4; ++j) {
        q[j] = (four[j] & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j)) << 4;
        q[j + 4] = (four[j] >> 4 & 0x0f0f0f0fu) | bits_to_bytes(high >> (4 * j + 16)) << 4;
    }
}
