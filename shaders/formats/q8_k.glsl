// parts: 4 256 32
// d, an f32; quants; sums, which are not needed.
#define ONE_SCALE
void unpack32(uint base, uint chunk, out uint q[8], out vec2 scale, out vec2 low) {
    uint quants = part_words(blocks, 4u) / 4u + chunk * 2u;
    scale = vec2(uintBitsToFloat(word(base, chunk / 8u)));
    low = vec2(0.0);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = four[n / 4][n & 3];
}
