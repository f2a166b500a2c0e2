// Attention over Vec: K is dimension-major, so lanes are positions for the scores; V is position-major, so lanes are
// output dimensions afterwards. A tile of query rows shares every load of a page.
#pragma once

#include "kernels/simd/elementary.h"

namespace tern::kernels {

// What one page is to the tile's rows.
struct PageView {
    const void* k;
    const void* v;
    const void* next_k;  // to fetch into the first-level cache; null: none
    const void* next_v;
    const void* far_k;   // to fetch into the second-level cache; null: none
    const void* far_v;
    const float* k_scales;  // q8_0 and q4_0 only, widened
    const float* v_scales;
    size_t v_row;  // bytes of a position of V
};

TERN_INLINE size_t kv_blocks(size_t dim) { return (dim + kKvBlock - 1) / kKvBlock; }

// Two elements of q4_0.
struct Pair {
    uint8_t bits;
};

// Where the elements of a dimension of K begin, and those of a position of V from the dimension `dim` on (a multiple of
// 16); then where those of V lie that are i * 16 dimensions further (dim is a multiple of 32 there unless i is 0).
template <class Element>
TERN_INLINE const Element* key_at(const Element* keys, size_t d) {
    return keys + d * kPageTokens;
}
TERN_INLINE const Pair* key_at(const Pair* keys, size_t d) { return keys + d / 2 * kPageTokens; }
template <class Element>
TERN_INLINE const Element* value_at(const Element* values, size_t v_row, size_t position, size_t dim) {
    return values + position * (v_row / sizeof(Element)) + dim;
}
TERN_INLINE const Pair* value_at(const Pair* values, size_t v_row, size_t position, size_t dim) {
    return values + position * v_row + dim / kKvBlock * 16;
}
template <class Element>
TERN_INLINE const Element* further(const Element* values, size_t i) {
    return values + i * 16;
}
TERN_INLINE const Pair* further(const Pair* values, size_t i) { return values + i / 2 * 16; }

// The integers of 16 positions of K, and of n <= 16 dimensions of V.
TERN_INLINE Vec key_integers(const int8_t* p, size_t) { return load_i8(p); }
TERN_INLINE Vec key_integers(const Pair* p, size_t d) { return load_u4(&p->bits, d % 2 * 4); }
TERN_INLINE Vec value_integers(const int8_t* p, size_t, size_t n) { return n < 16 ? load_i8_part(p, n) : load_i8(p); }
TERN_INLINE Vec value_integers(const Pair* p, size_t dim, size_t n) {
    const unsigned shift = dim / 16 % 2 * 4;
    return n < 16 ? load_u4_part(&p->bits, shift, n) : load_u4(&p->bits, shift);
}

// Elements of K: those of a dimension, from the position `at` on. Elements of V: those of a position, from the
// dimension `dim` on, which is a multiple of 16; n < 16 lanes of them, or 16.
TERN_INLINE Vec load_k(const float* p, const PageView&, size_t, size_t) { return load(p); }
TERN_INLINE Vec load_k(const uint16_t* p, const PageView&, size_t, size_t) { return load_f16(p); }
template <class Element>
TERN_INLINE Vec load_k(const Element* p, const PageView& page, size_t dim, size_t at) {
    return mul(key_integers(p, dim), load(page.k_scales + dim / kKvBlock * kPageTokens + at));
}
TERN_INLINE Vec load_v(const float* p, const PageView&, const AttentionArgs&, size_t, size_t, size_t n) {
    return n < 16 ? load_part(p, n) : load(p);
}
TERN_INLINE Vec load_v(const uint16_t* p, const PageView&, const AttentionArgs&, size_t, size_t, size_t n) {
    return n < 16 ? load_f16_part(p, n) : load_f16(p);
}
template <class Element>
TERN_INLINE Vec load_v(const Element* p, const PageView& page, const AttentionArgs& a, size_t dim, size_t at,
                       size_t n) {
    return mul(value_integers(p, dim, n), set1(page.v_scales[at * kv_blocks(a.v_dim) + dim / kKvBlock]));
}

struct Rows {
    const float* q;
    size_t q_stride;
    float* m;
    float* l;
    float* o;
    size_t o_stride;
    const uint64_t* visible;  // bit i: position i of the page
    const float* slopes;      // null: none
    const uint32_t* positions;
    size_t begin;  // position of the page
};

// Fetches the lines of [offset, offset + bytes) of a page that comes next, and of one that comes later.
TERN_INLINE void prefetch_pages(const void* next, const void* far, size_t offset, size_t bytes) {
    if (next)
        for (size_t i = 0; i < bytes; i += 64) prefetch(static_cast<const char*>(next) + offset + i);
    if (far)
        for (size_t i = 0; i < bytes; i += 64) prefetch_far(static_cast<const char*>(far) + offset + i);
}

// p[t][position] = dot(k, q), one chain over the dimensions per position.
template <class Element, size_t kRows>
static inline __attribute__((always_inline)) void scores(const AttentionArgs& a, const PageView& page,
                                                         const Rows& rows, float (*p)[kPageTokens]) {
    const Element* keys = static_cast<const Element*>(page.k);
    constexpr size_t kWidth = kScoreVecs * 16;
    for (size_t c = 0; c < kPageTokens; c += kWidth) {
        Vec s[kRows][kScoreVecs];
#pragma GCC unroll 8
        for (size_t t = 0; t < kRows; ++t)
#pragma GCC unroll 8
            for (size_t i = 0; i < kScoreVecs; ++i) s[t][i] = zero();
#pragma GCC unroll 1
        for (size_t d = 0; d < a.k_dim; ++d) {
            const Element* k = key_at(keys, d) + c;
            prefetch_pages(page.next_k, page.far_k, static_cast<size_t>(k - keys) * sizeof(Element),
                           kWidth * sizeof(Element));
            Vec key[kScoreVecs];
#pragma GCC unroll 8
            for (size_t i = 0; i < kScoreVecs; ++i) key[i] = load_k(k + i * 16, page, d, c + i * 16);
#pragma GCC unroll 8
            for (size_t t = 0; t < kRows; ++t) {
                loads_stay_below();
                const Vec q = set1(rows.q[t * rows.q_stride + d]);
#pragma GCC unroll 8
                for (size_t i = 0; i < kScoreVecs; ++i) s[t][i] = fma(key[i], q, s[t][i]);
            }
        }
#pragma GCC unroll 8
        for (size_t t = 0; t < kRows; ++t)
#pragma GCC unroll 8
            for (size_t i = 0; i < kScoreVecs; ++i) store(p[t] + c + i * 16, s[t][i]);
    }
}

// Scores to exponentials; updates m and l; correction[t] is what the row's output so far is multiplied by.
template <size_t kRows>
static inline __attribute__((always_inline)) void weigh(const AttentionArgs& a, const Rows& rows,
                                                        float (*p)[kPageTokens], float* correction) {
    constexpr size_t kVecs = kPageTokens / 16;
    const float lowest = -__builtin_inff();
    alignas(64) float m_old[16] = {};
    alignas(64) float m_new[16] = {};
    for (size_t t = 0; t < kRows; ++t) {
        const uint64_t visible = rows.visible[t];
        Vec top = set1(lowest);
        for (size_t i = 0; i < kVecs; ++i) {
            Vec s = load(p[t] + i * 16);
            if (a.softcap != 0.0f) s = mul(set1(a.softcap), tanh(div(s, set1(a.softcap))));
            if (rows.slopes) {
                const float lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
                const Vec position = add(set1(static_cast<float>(rows.begin + i * 16)), load(lanes));
                const Vec distance = magnitude(sub(position, set1(static_cast<float>(rows.positions[t]))));
                s = fma(set1(-rows.slopes[t]), distance, s);
            }
            s = select(mask_bits(static_cast<uint32_t>(visible >> i * 16) & 0xffff), s, set1(lowest));
            store(p[t] + i * 16, s);
            top = max(top, s);
        }
        m_old[t] = rows.m[t];
        m_new[t] = max_plus_zero(m_old[t], largest(top));
    }
    const Vec old = load(m_old);
    store(correction, select(mask_equal(old, set1(lowest)), zero(), exp(sub(old, load(m_new)))));
    for (size_t t = 0; t < kRows; ++t) {
        const uint64_t visible = rows.visible[t];
        const Vec m = set1(m_new[t]);
        Vec sum = zero();
        for (size_t i = 0; i < kVecs; ++i) {
            const Mask seen = mask_bits(static_cast<uint32_t>(visible >> i * 16) & 0xffff);
            const Vec e = select(seen, exp(sub(load(p[t] + i * 16), m)), zero());
            store(p[t] + i * 16, e);
            sum = add(sum, e);
        }
        rows.l[t] = __builtin_fmaf(rows.l[t], correction[t], tree(sum));
        rows.m[t] = m_new[t];
    }
}

// o = o * correction + sum over visible positions of p * v, for kVecs vectors of output dimensions; `rest` is the
// number of lanes of a last, partial one (kVecs is 1 then), else 0.
template <class Element, size_t kRows, size_t kVecs>
static inline __attribute__((always_inline)) void mix(const AttentionArgs& a, const PageView& page, const Rows& rows,
                                                      const float (*p)[kPageTokens], const float* correction,
                                                      size_t dim, size_t rest) {
    const Element* values = static_cast<const Element*>(page.v);
    uint64_t any = 0;
    uint64_t all = ~uint64_t{0};
    for (size_t t = 0; t < kRows; ++t) {
        any |= rows.visible[t];
        all &= rows.visible[t];
    }
    Vec o[kRows][kVecs];
#pragma GCC unroll 8
    for (size_t t = 0; t < kRows; ++t) {
        const float* from = rows.o + t * rows.o_stride + dim;
        const Vec c = set1(correction[t]);
#pragma GCC unroll 8
        for (size_t i = 0; i < kVecs; ++i) o[t][i] = mul(rest ? load_part(from, rest) : load(from + i * 16), c);
    }
    const size_t first = static_cast<size_t>(__builtin_ctzll(any));
    const size_t last = kPageTokens - static_cast<size_t>(__builtin_clzll(any));
#pragma GCC unroll 1
    for (size_t position = first; position < last; ++position) {
        const Element* from = value_at(values, page.v_row, position, dim);
        prefetch_pages(page.next_v, page.far_v, static_cast<size_t>(from - values) * sizeof(Element),
                       kVecs > 1 ? static_cast<size_t>(further(from, kVecs) - from) * sizeof(Element) : 1);
        Vec v[kVecs];
#pragma GCC unroll 8
        for (size_t i = 0; i < kVecs; ++i)
            v[i] = load_v(further(from, i), page, a, dim + i * 16, position, rest ? rest : 16);
        if (all >> position & 1) {
#pragma GCC unroll 8
            for (size_t t = 0; t < kRows; ++t) {
                loads_stay_below();
                const Vec weight = set1(p[t][position]);
#pragma GCC unroll 8
                for (size_t i = 0; i < kVecs; ++i) o[t][i] = fma(weight, v[i], o[t][i]);
            }
        } else {
            // Not fma with 0: a hidden position must not turn -0 into +0, nor bring in its NaN.
#pragma GCC unroll 8
            for (size_t t = 0; t < kRows; ++t)
                if (rows.visible[t] >> position & 1) {
                    const Vec weight = set1(p[t][position]);
#pragma GCC unroll 8
                    for (size_t i = 0; i < kVecs; ++i) o[t][i] = fma(weight, v[i], o[t][i]);
                }
        }
    }
#pragma GCC unroll 8
    for (size_t t = 0; t < kRows; ++t) {
        float* to = rows.o + t * rows.o_stride + dim;
        if (rest)
            store_part(to, o[t][0], rest);
        else
#pragma GCC unroll 8
            for (size_t i = 0; i < kVecs; ++i) store(to + i * 16, o[t][i]);
    }
}

template <class Element, size_t kRows>
static __attribute__((noinline)) void attend_tile(const AttentionArgs& a, const PageView& page, const Rows& rows,
                                                  float (*p)[kPageTokens]) {
    alignas(64) float correction[16];
    scores<Element, kRows>(a, page, rows, p);
    weigh<kRows>(a, rows, p, correction);
    size_t dim = 0;
    for (; dim + kValueVecs * 16 <= a.v_dim; dim += kValueVecs * 16)
        mix<Element, kRows, kValueVecs>(a, page, rows, p, correction, dim, 0);
    for (; dim + 16 <= a.v_dim; dim += 16) mix<Element, kRows, 1>(a, page, rows, p, correction, dim, 0);
    if (dim < a.v_dim) mix<Element, kRows, 1>(a, page, rows, p, correction, dim, a.v_dim - dim);
}

template <class Element, size_t kRows = kQueryTile>
static inline void attend_some(size_t rows_left, const AttentionArgs& a, const PageView& page, const Rows& rows,
                               float (*p)[kPageTokens]) {
    if constexpr (kRows > 0) {
        if (rows_left == kRows) return attend_tile<Element, kRows>(a, page, rows, p);
        attend_some<Element, kRows - 1>(rows_left, a, page, rows, p);
    }
}

// Bits of the positions of the page at `begin` that lie in [lo, hi) and in the chunk.
TERN_INLINE uint64_t visible_bits(const AttentionArgs& a, size_t begin, size_t row) {
    const size_t lo = a.lo[row] > a.chunk_begin ? a.lo[row] : a.chunk_begin;
    const size_t hi = a.hi[row] < a.chunk_end ? a.hi[row] : a.chunk_end;
    const size_t first = lo > begin ? lo - begin : 0;
    const size_t last = hi < begin + kPageTokens ? (hi > begin ? hi - begin : 0) : kPageTokens;
    if (first >= last) return 0;
    return (~uint64_t{0} >> (kPageTokens - (last - first))) << first;
}

template <class Element>
static inline void attend_page(const AttentionArgs& a, const PageView& page, size_t begin, float (*p)[kPageTokens]) {
    for (size_t r = 0; r < a.rows; r += kQueryTile) {
        const size_t n = a.rows - r < kQueryTile ? a.rows - r : kQueryTile;
        uint64_t visible[kQueryTile];
        uint64_t any = 0;
        for (size_t t = 0; t < n; ++t) any |= visible[t] = visible_bits(a, begin, r + t);
        if (!any) continue;
        const Rows rows{a.q + r * a.q_stride, a.q_stride, a.m + r, a.l + r, a.o + r * a.o_stride, a.o_stride, visible,
                        a.slopes ? a.slopes + r : nullptr, a.slopes ? a.positions + r : nullptr, begin};
        attend_some<Element>(n, a, page, rows, p);
    }
}

TERN_INLINE void widen(const uint16_t* from, float* to, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) store(to + i, load_f16(from + i));
    if (i < n) store_part(to + i, load_f16_part(from + i, n - i), n - i);
}

// A page of q8_0 or q4_0 as f32.
template <class Element>
static inline void widen_blocks(const AttentionArgs& a, const KvLayout& at, const char* page, float* k, float* v) {
    const Element* keys = reinterpret_cast<const Element*>(page);
    const Element* values = reinterpret_cast<const Element*>(page + at.v);
    const uint16_t* k_scales = reinterpret_cast<const uint16_t*>(page + at.k_scales);
    const uint16_t* v_scales = reinterpret_cast<const uint16_t*>(page + at.v_scales);
    for (size_t d = 0; d < a.k_dim; ++d)
        for (size_t i = 0; i < kPageTokens; i += 16) {
            const Vec scale = load_f16(k_scales + d / kKvBlock * kPageTokens + i);
            store(k + d * kPageTokens + i, mul(key_integers(key_at(keys, d) + i, d), scale));
        }
    const size_t blocks = kv_blocks(a.v_dim);
    for (size_t position = 0; position < kPageTokens; ++position) {
        alignas(64) float scales[16];
        for (size_t d = 0; d < a.v_dim; d += 16) {
            const size_t block = d / kKvBlock;
            if (d % (16 * kKvBlock) == 0)
                store(scales, load_f16_part(v_scales + position * blocks + block, blocks - block < 16 ? blocks - block : 16));
            const Vec scale = set1(scales[block % 16]);
            const size_t n = a.v_dim - d < 16 ? a.v_dim - d : 16;
            const Vec x = mul(value_integers(value_at(values, at.v_row, position, d), d, n), scale);
            if (n == 16)
                store(v + position * a.v_dim + d, x);
            else
                store_part(v + position * a.v_dim + d, x, n);
        }
    }
}

// One page whose positions are at `begin`; `next` and `far` are the pages that follow, or null.
static void attend_next(const AttentionArgs& a, const char* page, const char* next, const char* far, size_t begin) {
    const size_t keys = a.k_dim * kPageTokens;
    const size_t values = a.v_dim * kPageTokens;
    float* wide = static_cast<float*>(a.scratch);
    float(*p)[kPageTokens] = reinterpret_cast<float(*)[kPageTokens]>(wide + keys + values);
    const KvLayout at = kv_layout(a.type, a.k_dim, a.v_dim);
    // Two tiles may each convert what they read, which is cheaper than to write a page of f32 and read it; more tiles
    // share one that is widened once.
    if (a.rows > 2 * kQueryTile) {
        PageView view{wide, wide + keys, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, a.v_dim * sizeof(float)};
        if (a.type == KvType::f32)
            view.k = page, view.v = page + at.v;
        else if (a.type == KvType::f16)
            widen(reinterpret_cast<const uint16_t*>(page), wide, keys + values);
        else if (a.type == KvType::q8_0)
            widen_blocks<int8_t>(a, at, page, wide, wide + keys);
        else
            widen_blocks<Pair>(a, at, page, wide, wide + keys);
        return attend_page<float>(a, view, begin, p);
    }
    PageView view{page,   page + at.v, next, next ? next + at.v : nullptr, far, far ? far + at.v : nullptr, nullptr,
                  nullptr, at.v_row};
    if (a.type == KvType::f32) return attend_page<float>(a, view, begin, p);
    if (a.type == KvType::f16) return attend_page<uint16_t>(a, view, begin, p);
    // The scales are used again and again: as f32 they cost a load only. They fit where a whole page would.
    const size_t k_scales = kv_blocks(a.k_dim) * kPageTokens;
    const size_t v_scales = kv_blocks(a.v_dim) * kPageTokens;
    prefetch_pages(next, far, at.k_scales, k_scales * sizeof(uint16_t));
    prefetch_pages(next, far, at.v_scales, v_scales * sizeof(uint16_t));
    widen(reinterpret_cast<const uint16_t*>(page + at.k_scales), wide, k_scales);
    widen(reinterpret_cast<const uint16_t*>(page + at.v_scales), wide + k_scales, v_scales);
    view.k_scales = wide;
    view.v_scales = wide + k_scales;
    if (a.type == KvType::q8_0) return attend_page<int8_t>(a, view, begin, p);
    attend_page<Pair>(a, view, begin, p);
}

static void attention(const AttentionArgs& a) {

    size_t lowest = a.chunk_end;  // positions that any row sees
    size_t highest = a.chunk_begin;
    for (size_t r = 0; r < a.rows; ++r) {
        a.m[r] = -__builtin_inff();
        a.l[r] = 0.0f;
        float* o = a.o + r * a.o_stride;
        for (size_t d = 0; d < a.v_dim; d += 16) store_part(o + d, zero(), a.v_dim - d < 16 ? a.v_dim - d : 16);
        if (a.lo[r] >= a.hi[r]) continue;
        if (a.lo[r] < lowest) lowest = a.lo[r];
        if (a.hi[r] > highest) highest = a.hi[r];
    }
    if (lowest < a.chunk_begin) lowest = a.chunk_begin;
    if (highest > a.chunk_end) highest = a.chunk_end;
    if (lowest >= highest) return;
    const size_t first_page = lowest / kPageTokens;
    const size_t last_page = (highest - 1) / kPageTokens;
    for (size_t i = first_page; i <= last_page; ++i) {
        const char* page = static_cast<const char*>(a.pages[i]);
        const char* next = i < last_page ? static_cast<const char*>(a.pages[i + 1]) : nullptr;
        const char* far = i + 1 < last_page ? static_cast<const char*>(a.pages[i + 2]) : nullptr;
        attend_next(a, page, next, far, i * kPageTokens);
    }
}

static void attention_merge(float* ma, float* la, float* oa, float mb, float lb, const float* ob, size_t v_dim) {
    if (lb == 0.0f) return;
    const bool copy = *la == 0.0f;
    const float m = max_plus_zero(*ma, mb);
    const Vec ca = exp(set1(*ma - m));
    const Vec cb = exp(set1(mb - m));
    *la = copy ? lb : __builtin_fmaf(*la, first_lane(ca), lb * first_lane(cb));
    *ma = copy ? mb : m;
    for (size_t d = 0; d < v_dim; d += 16) {
        const size_t n = v_dim - d < 16 ? v_dim - d : 16;
        const Vec b = load_part(ob + d, n);
        store_part(oa + d, copy ? b : fma(load_part(oa + d, n), ca, mul(b, cb)), n);
    }
}

static void attention_finish(float m, float l, const float* o, const float* sink, float* out, size_t v_dim) {
    const bool empty = l == 0.0f;
    Vec correction = set1(1.0f);
    float denominator = l;
    if (sink) {
        const float top = max_plus_zero(m, *sink);
        correction = exp(set1(m - top));
        denominator = __builtin_fmaf(l, first_lane(correction), exp1(*sink - top));
    }
    const Vec divisor = set1(denominator);
    for (size_t d = 0; d < v_dim; d += 16) {
        const size_t n = v_dim - d < 16 ? v_dim - d : 16;
        store_part(out + d, empty ? zero() : div(mul(load_part(o + d, n), correction), divisor), n);
    }
}

// Magnitudes, where NaN, which is less than nothing, becomes infinity.
TERN_INLINE Vec sizes(Vec v) {
    const Vec infinity = set1(__builtin_inff());
    return select(mask_less(magnitude(v), infinity), magnitude(v), infinity);
}

// A block of n <= kKvBlock elements of q8_0: q[i * q_stride] and the scale.
TERN_INLINE void store_q8(const float* x, size_t n, int8_t* q, size_t q_stride, uint16_t* scale) {
    const float infinity = __builtin_inff();
    const Vec a = load_part(x, n < 16 ? n : 16);
    const Vec b = n > 16 ? load_part(x + 16, n - 16) : zero();
    const float amax = largest(max(sizes(a), sizes(b)));
    const float d = amax / 127.0f;
    uint16_t h[16];
    store_f16(h, set1(amax < infinity ? (d < 65504.0f ? d : 65504.0f) : __builtin_nanf("")));
    *scale = h[0];
    const Vec stored = load_f16(h);
    alignas(64) float rounded[kKvBlock] = {};
    if (first_lane(stored) > 0.0f) {
        const auto quotient = [&](Vec v) { return round_even(max(min(div(v, stored), set1(127.0f)), set1(-127.0f))); };
        store(rounded, quotient(a));
        store(rounded + 16, quotient(b));
    }
    for (size_t i = 0; i < n; ++i) q[i * q_stride] = static_cast<int8_t>(rounded[i]);
}

// A block of n <= kKvBlock elements of q4_0: q, with zeros behind them, and the scale.
TERN_INLINE void quantise_q4(const float* x, size_t n, uint8_t (&q)[kKvBlock], uint16_t* scale) {
    const Vec a = load_part(x, n < 16 ? n : 16);
    const Vec b = n > 16 ? load_part(x + 16, n - 16) : zero();
    const float amax = largest(max(sizes(a), sizes(b)));
    // Lanes beyond n are 0, which is neither larger nor, unless all are 0, an extreme.
    float d = (largest(max(a, b)) == amax ? amax : -amax) / -8.0f;
    d = d > 65504.0f ? 65504.0f : d < -65504.0f ? -65504.0f : d;
    uint16_t h[16];
    store_f16(h, set1(amax < __builtin_inff() ? d : __builtin_nanf("")));
    const Vec stored = load_f16(h);
    const float used = first_lane(stored);
    *scale = used == 0.0f ? 0 : h[0];
    alignas(64) float level[kKvBlock];
    if (used < 0.0f || used > 0.0f) {
        const auto levels = [&](Vec v) { return min(max(add(div(v, stored), set1(8.5f)), zero()), set1(15.0f)); };
        store(level, levels(a));
        store(level + 16, levels(b));
    } else {
        store(level, set1(8.0f));
        store(level + 16, set1(8.0f));
    }
    for (size_t i = 0; i < kKvBlock; ++i) q[i] = static_cast<uint8_t>(level[i]);
    for (size_t i = n; i < kKvBlock; ++i) q[i] = 0;
}

TERN_INLINE void store_f32(const KvLayout& at, char* page, size_t k_dim, size_t v_dim, size_t position, const float* k,
                           const float* v) {
    float* keys = reinterpret_cast<float*>(page) + position;
    for (size_t d = 0; d < k_dim; ++d) keys[d * kPageTokens] = k[d];
    __builtin_memcpy(reinterpret_cast<float*>(page + at.v) + position * v_dim, v, v_dim * sizeof *v);
}
TERN_INLINE void store_f16(const KvLayout& at, char* page, size_t k_dim, size_t v_dim, size_t position, const float* k,
                           const float* v) {
    uint16_t* keys = reinterpret_cast<uint16_t*>(page) + position;
    uint16_t* values = reinterpret_cast<uint16_t*>(page + at.v) + position * v_dim;
    for (size_t d = 0; d < k_dim; d += 16) {
        const size_t n = k_dim - d < 16 ? k_dim - d : 16;
        uint16_t h[16];
        store_f16(h, load_part(k + d, n));
        for (size_t i = 0; i < n; ++i) keys[(d + i) * kPageTokens] = h[i];
    }
    for (size_t d = 0; d < v_dim; d += 16) {
        const size_t n = v_dim - d < 16 ? v_dim - d : 16;
        store_f16_part(values + d, load_part(v + d, n), n);
    }
}
TERN_INLINE void store_q8(const KvLayout& at, char* page, size_t k_dim, size_t v_dim, size_t position, const float* k,
                          const float* v) {
    int8_t* keys = reinterpret_cast<int8_t*>(page) + position;
    uint16_t* k_scales = reinterpret_cast<uint16_t*>(page + at.k_scales) + position;
    for (size_t d = 0; d < k_dim; d += kKvBlock)
        store_q8(k + d, k_dim - d < kKvBlock ? k_dim - d : kKvBlock, keys + d * kPageTokens, kPageTokens,
                 k_scales + d / kKvBlock * kPageTokens);
    int8_t* values = reinterpret_cast<int8_t*>(page + at.v) + position * v_dim;
    uint16_t* v_scales = reinterpret_cast<uint16_t*>(page + at.v_scales) + position * kv_blocks(v_dim);
    for (size_t d = 0; d < v_dim; d += kKvBlock)
        store_q8(v + d, v_dim - d < kKvBlock ? v_dim - d : kKvBlock, values + d, 1, v_scales + d / kKvBlock);
}

TERN_INLINE void store_q4(const KvLayout& at, char* page, size_t k_dim, size_t v_dim, size_t position, const float* k,
                          const float* v) {
    uint8_t q[kKvBlock];
    uint8_t* keys = reinterpret_cast<uint8_t*>(page) + position;
    uint16_t* k_scales = reinterpret_cast<uint16_t*>(page + at.k_scales) + position;
    for (size_t d = 0; d < k_dim; d += kKvBlock) {
        const size_t n = k_dim - d < kKvBlock ? k_dim - d : kKvBlock;
        quantise_q4(k + d, n, q, k_scales + d / kKvBlock * kPageTokens);
        for (size_t j = 0; j < n; j += 2) keys[(d + j) / 2 * kPageTokens] = static_cast<uint8_t>(q[j] | q[j + 1] << 4);
    }
    uint8_t* values = reinterpret_cast<uint8_t*>(page + at.v) + position * at.v_row;
    uint16_t* v_scales = reinterpret_cast<uint16_t*>(page + at.v_scales) + position * kv_blocks(v_dim);
    for (size_t d = 0; d < v_dim; d += kKvBlock) {
        const size_t n = v_dim - d < kKvBlock ? v_dim - d : kKvBlock;
        quantise_q4(v + d, n, q, v_scales + d / kKvBlock);
        for (size_t j = 0; j < (n < 16 ? n : 16); ++j) values[d / 2 + j] = static_cast<uint8_t>(q[j] | q[j + 16] << 4);
    }
}

static void kv_store(void* page, KvType type, size_t k_dim, size_t v_dim, size_t position, const float* k,
                     const float* v) {
    const KvLayout at = kv_layout(type, k_dim, v_dim);
    char* bytes = static_cast<char*>(page);
    switch (type) {
        case KvType::f32: return store_f32(at, bytes, k_dim, v_dim, position, k, v);
        case KvType::f16: return store_f16(at, bytes, k_dim, v_dim, position, k, v);
        case KvType::q8_0: return store_q8(at, bytes, k_dim, v_dim, position, k, v);
        case KvType::q4_0: return store_q4(at, bytes, k_dim, v_dim, position, k, v);
    }
}

}  // namespace tern::kernels
