// Elements 32·chunk … of a row as floats, each rounded once; after "format.glsl".
#ifndef FLOATS
void decode32(uint base, uint chunk, out float w[32]) {
    uint q[8];
    vec2 scale, low;
    unpack32(base, chunk, q, scale, low);
    [[unroll]] for (uint n = 0; n < 8; ++n)
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            float one = signed_byte(q[n], i);
#ifdef HAS_LOW
            w[4 * n + i] = fma(scale[n / 4], one, -low[n / 4]);
#else
            w[4 * n + i] = scale[n / 4] * one;
#endif
        }
}
#endif
