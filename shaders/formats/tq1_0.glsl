// parts: 48 4 2
// Bytes of five digits of base 3, the first one foremost, as a fraction of 256. Digit n of bytes 0..31 are elements 32n …,
// of bytes 32..47 elements 160 + 16n …, of the last four bytes (four digits) elements 240 + 4n ….
#define ONE_SCALE
// A power of 3 brings a digit to the front.
uint digits(uint q, uint power) {
    uint even = (q & 0x00ff00ffu) * power & 0x00ff00ffu, odd = (q >> 8 & 0x00ff00ffu) * power & 0x00ff00ffu;
    return (even * 3u >> 8 & 0x00030003u) | (odd * 3u & 0x03000300u);
}
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint block = chunk / 8u, j = chunk & 7u, lasts = blocks * 12u;
    d = vec2(half_of(base, lasts + part_words(blocks, 4u), block), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    uint first = block * 3u + (j < 5u ? 0u : 2u);
    uvec4 four = quad(base, first), next = four;
    if (j < 5u) next = quad(base, first + 1u);
    if (j == 7u) next = uvec4(word(base, lasts + block));
    uint p = j == 0u || j == 5u ? 1u : j == 1u ? 3u : j == 2u || j == 6u ? 9u : j == 3u ? 27u : 81u;
    uint p2 = j < 5u ? p : 3u * p, power = 1u;
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        q[n] = less(n < 4 ? digits(four[n & 3], p) : digits(next[n & 3], j == 7u ? power : p2), 1u);
        if (n >= 4) power *= 3u;
    }
}
