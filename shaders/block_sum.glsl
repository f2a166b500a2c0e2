// How the products of a block of quantised numbers are added (docs/numerics.md, "Matrix product").
#ifdef SMALL_BLOCKS
#define ONE_SCALE
const uint CHUNKS = 1;  // of a block
#else
const uint CHUNKS = 8;
#endif
#ifdef ONE_SCALE
const uint HALVES = 1;  // parts of a chunk that have their own scales
#else
const uint HALVES = 2;
#endif

// The integers S and M of a block, chunk by chunk. `part`: the sums of products of each half of a chunk (of ONE_SCALE all in
// x); `tail`: what goes with its activations (quantize.comp). M stays below 2^24, S does not.
void add_chunk(ivec2 scale, ivec2 low, ivec2 part, vec4 tail, inout int s, inout float m) {
#ifdef SMALL_BLOCKS
    s = part.x;
    m = tail.w;
#else
    s += HALVES == 1 ? scale.x * part.x : scale.x * part.x + scale.y * part.y;
#ifdef HAS_LOW
    m += HALVES == 1 ? float(low.x) * tail.w : float(low.x) * tail.y + float(low.y) * tail.z;
#endif
#endif
}
// The same for sums in f32, which are exact: a chunk's stay below 2^24.
void add_chunk(vec2 scale, vec2 low, vec2 part, vec4 tail, inout int s, inout float m) {
#ifdef SMALL_BLOCKS
    s = int(part.x);
    m = tail.w;
#else
    s += int(HALVES == 1 ? scale.x * part.x : scale.x * part.x + scale.y * part.y);
#ifdef HAS_LOW
    m += HALVES == 1 ? low.x * tail.w : low.x * tail.y + low.y * tail.z;
#endif
#endif
}

// A block joins a sum as fma(x, y, sum), then, of SMALL_BLOCKS with minimums, as fma(z, w, sum). `da`: the activations' scale.
#if defined(SMALL_BLOCKS) && defined(HAS_LOW)
#define TERMS 4
#else
#define TERMS 2
#endif
vec4 block_term(vec2 d, float da, int s, float m) {
#ifdef SMALL_BLOCKS
    return vec4(d.x * da, float(s), -(d.y * da), m);
#elif defined(HAS_LOW)
    return vec4(da, fma(d.x, float(s), -(d.y * m)), 0.0, 0.0);
#else
    return vec4(da, d.x * float(s), 0.0, 0.0);
#endif
}
float add_term(vec4 term, float sum) {
    sum = fma(term.x, term.y, sum);
#if TERMS == 4
    sum = fma(term.z, term.w, sum);
#endif
    return sum;
}
