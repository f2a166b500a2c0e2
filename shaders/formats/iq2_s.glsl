// parts: 2 32 32 8 8
// Low bytes of indices, one for 8 elements; their signs; the indices' two high bits; scales of 4 bits, each of 16
// elements.
#include "codebook.glsl"
void decode32(uint base, uint chunk, out float w[32]) {
    uint lows = part_words(blocks, 2u), highs = lows + blocks * 16u;
    uint low = word(base, lows + chunk), signs = word(base, lows + blocks * 8u + chunk);
    uint high = byte_of(base, highs, chunk), s = byte_of(base, highs + part_words(blocks, 8u), chunk);
    float d = half_of(base, 0u, chunk / 8u) * 0.125;
    vec2 scale = d * vec2(2u * (s & 15u) + 1u, 2u * (s >> 4) + 1u);
    [[unroll]] for (uint g = 0; g < 4; ++g) {
        uvec2 q = iq2_values(codebook(1024u, (low >> (8 * g) & 255u) | (high >> (2 * g) & 3u) << 8), signs >> (8 * g));
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            w[8 * g + i] = scale[g / 2] * signed_byte(q.x, i);
            w[8 * g + i + 4] = scale[g / 2] * signed_byte(q.y, i);
        }
    }
}
