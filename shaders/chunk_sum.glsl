// Sums of products of one scale: 1 where both halves of a chunk have the same.
#ifdef ONE_SCALE
const uint HALVES = 1;
#else
const uint HALVES = 2;
#endif

// What 32 elements give whose products, as integers, have the sums `part` (of the first and the second 16, or all in x);
// without the scale of the activations. `tail`: theirs (quantize.comp).
float chunk_sum(vec2 scale, vec2 low, vec2 part, vec4 tail) {
    float s = HALVES == 1 ? scale.x * part.x : fma(scale.y, part.y, scale.x * part.x);
#ifdef HAS_LOW
    s -= HALVES == 1 ? low.x * tail.w : fma(low.y, tail.z, low.x * tail.y);
#endif
    return s;
}
