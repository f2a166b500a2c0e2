// parts: 48 4 2
// Bytes of five digits of base 3, the first one foremost, as a fraction of 256. Digit n of bytes 0..31 are elements 32n …,
// of bytes 32..47 elements 160 + 16n …, of the last four bytes (four digits) elements 240 + 4n ….
// A power of 3 brings a digit to the front.
uint digits(uint q, uint power) {
    uint even = (q & 0x00ff00ffu) * power & 0x00ff00ffu, odd = (q >> 8 & 0x00ff00ffu) * power & 0x00ff00ffu;
    return (even * 3u >> 8 & 0x00030003u) | (odd * 3u & 0x03000300u);
}
void decode32(uint base, uint chunk, out float w[32]) {
    uint block = chunk / 8u, j = chunk & 7u, lasts = part_words(blocks, 48u);
    float d = half_of(base, lasts + part_words(blocks, 4u), block);
    uint first = block * 12u + (j < 5u ? 0u : 8u), second = block * 12u + (j < 5u ? 4u : 8u);
    uint p = j == 0u || j == 5u ? 1u : j == 1u ? 3u : j == 2u || j == 6u ? 9u : j == 3u ? 27u : 81u;
    uint p2 = j < 5u ? p : 3u * p, power = 1u;
    [[unroll]] for (uint n = 0; n < 8; ++n) {
        bool last = n >= 4 && j == 7u;
        uint q = word(base, last ? lasts + block : (n < 4 ? first : second) + (n & 3));
        uint digit = digits(q, last ? power : n < 4 ? p : p2);
        if (n >= 4) power *= 3u;
        [[unroll]] for (uint i = 0; i < 4; ++i) w[4 * n + i] = d * float(int(digit >> (8 * i) & 3u) - 1);
    }
}
