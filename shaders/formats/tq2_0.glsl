// parts: 64 2
// 128 elements in 32 bytes, the first 32 of them in the lowest pairs of bits.
#define ONE_SCALE
void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low) {
    d = vec2(half_of(base, blocks * 16u, chunk / 8u), 0.0);
    scale = ivec2(1);
    low = ivec2(0);
    uint quants = chunk / 4u * 2u, shift = 2u * (chunk & 3u);
    uvec4 four[2] = {quad(base, quants), quad(base, quants + 1u)};
    [[unroll]] for (uint n = 0; n < 8; ++n) q[n] = less(four[n / 4][n & 3] >> shift & 0x03030303u, 1u);
}
