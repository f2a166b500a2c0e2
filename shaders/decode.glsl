// Elements 32·chunk … of a row as floats, each rounded once; after "format.glsl".
#ifdef FLOATS
float element(uint base, uint i) { return four(base, i & ~3u)[i & 3u]; }
#else
void decode32(uint base, uint chunk, out float w[32]) {
    uint q[8];
    vec2 d;
    ivec2 scale, low;
    unpack32(base, chunk, q, d, scale, low);
    vec2 each = d.x * vec2(scale), below = d.y * vec2(low);  // exact
    [[unroll]] for (uint n = 0; n < 8; ++n)
        [[unroll]] for (uint i = 0; i < 4; ++i)
#ifdef HAS_LOW
            w[4 * n + i] = fma(each[n / 4], signed_byte(q[n], i), -below[n / 4]);
#else
            w[4 * n + i] = each[n / 4] * signed_byte(q[n], i);
#endif
}
#endif
