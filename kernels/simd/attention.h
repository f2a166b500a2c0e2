// Attention over Vec: K is dimension-major, so lanes are positions for the scores; V is position-major, so lanes are
// output dimensions afterwards. A tile of query rows shares every load of a page.
#pragma once

#include "kernels/simd/elementary.h"

namespace tern::kernels {

TERN_INLINE Vec load_kv(const float* p) { return load(p); }
TERN_INLINE Vec load_kv(const uint16_t* p) { return load_f16(p); }
TERN_INLINE Vec load_kv_part(const float* p, size_t n) { return load_part(p, n); }
TERN_INLINE Vec load_kv_part(const uint16_t* p, size_t n) { return load_f16_part(p, n); }

// What one page is to the tile's rows.
struct PageView {
    const void* k;
    const void* v;
    const void* next_k;  // to fetch into the first-level cache; null: none
    const void* next_v;
    const void* far_k;   // to fetch into the second-level cache; null: none
    const void* far_v;
};

struct Rows {
    const float* q;
    size_t q_stride;
    float* m;
    float* l;
    float* o;
    size_t o_stride;
    const uint64_t* visible;  // bit i: position i of the page
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
            const Element* k = keys + d * kPageTokens + c;
            prefetch_pages(page.next_k, page.far_k, (d * kPageTokens + c) * sizeof(Element), kWidth * sizeof(Element));
            Vec key[kScoreVecs];
#pragma GCC unroll 8
            for (size_t i = 0; i < kScoreVecs; ++i) key[i] = load_kv(k + i * 16);
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
    const Element* values = static_cast<const Element*>(page.v) + dim;
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
        const Element* from = values + position * a.v_dim;
        prefetch_pages(page.next_v, page.far_v, (position * a.v_dim + dim) * sizeof(Element),
                       kVecs * 16 * sizeof(Element));
        Vec v[kVecs];
#pragma GCC unroll 8
        for (size_t i = 0; i < kVecs; ++i) v[i] = rest ? load_kv_part(from, rest) : load_kv(from + i * 16);
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
        const Rows rows{a.q + r * a.q_stride, a.q_stride, a.m + r, a.l + r, a.o + r * a.o_stride, a.o_stride, visible};
        attend_some<Element>(n, a, page, rows, p);
    }
}

TERN_INLINE void widen(const uint16_t* from, float* to, size_t n) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) store(to + i, load_f16(from + i));
    if (i < n) store_part(to + i, load_f16_part(from + i, n - i), n - i);
}

static void attention(const AttentionArgs& a) {
    const size_t keys = a.k_dim * kPageTokens;
    const size_t values = a.v_dim * kPageTokens;
    const bool half = a.type == KvType::f16;
    const size_t element = half ? sizeof(uint16_t) : sizeof(float);
    float* wide = static_cast<float*>(a.scratch);
    float(*p)[kPageTokens] = reinterpret_cast<float(*)[kPageTokens]>(wide + keys + values);

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
        PageView view{page, page + keys * element, next, next ? next + keys * element : nullptr,
                      far,  far ? far + keys * element : nullptr};
        if (half && a.rows > kQueryTile) {  // more than one tile reads the page: widen it once
            widen(static_cast<const uint16_t*>(view.k), wide, keys + values);
            view = {wide, wide + keys, nullptr, nullptr, nullptr, nullptr};
        } else if (a.rows > kQueryTile) {
            view.next_k = view.next_v = view.far_k = view.far_v = nullptr;
        }
        if (half && a.rows <= kQueryTile)
            attend_page<uint16_t>(a, view, i * kPageTokens, p);
        else
            attend_page<float>(a, view, i * kPageTokens, p);
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

static void kv_store(void* page, KvType type, size_t k_dim, size_t v_dim, size_t position, const float* k,
                     const float* v) {
    if (type == KvType::f32) {
        float* keys = static_cast<float*>(page) + position;
        for (size_t d = 0; d < k_dim; ++d) keys[d * kPageTokens] = k[d];
        __builtin_memcpy(static_cast<float*>(page) + k_dim * kPageTokens + position * v_dim, v, v_dim * sizeof *v);
        return;
    }
    uint16_t* keys = static_cast<uint16_t*>(page) + position;
    uint16_t* values = static_cast<uint16_t*>(page) + k_dim * kPageTokens + position * v_dim;
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

}  // namespace tern::kernels
