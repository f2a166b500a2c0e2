// parts: 4 256 32
// d, an f32; quants; sums, which are not needed.
#define ONE_SCALE
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint quants = part_words(blocks, 4u) / 4u + chunk * 2u;
    d = vec2(uintBitsToFloat(word(base, chunk / 8u)), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = four[n / 4][n & 3];
}
