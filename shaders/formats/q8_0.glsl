// parts: 2 32
#define ONE_SCALE
void unpack32(uint base, uint chunk, out uint q[8], out vec2 scale, out vec2 low) {
    uint quants = part_words(blocks, 2u) / 4u + chunk * 2u;
    scale = vec2(half_of(base, 0u, chunk));
    low = vec2(0.0);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = four[n / 4][n & 3];
}
