// parts: 2 32
#define SMALL_BLOCKS
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    uint quants = part_words(blocks, 2u) / 4u + chunk * 2u;
    d = vec2(half_of(base, 0u, chunk), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = four[n / 4][n & 3];
}
