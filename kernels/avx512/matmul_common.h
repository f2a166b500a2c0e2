// Building blocks shared by the quantised matrix products of this folder. Everything is internal to the object that
// includes it.
#pragma once

// GCC 12 takes the undefined pass-through operands inside its own intrinsics for mistakes (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/formats/format.h"
#include "kernels/kernel.h"

#define TERN_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#define TERN_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 64")
#define TERN_NO_UNROLL _Pragma("GCC unroll 1")
#endif

namespace tern::kernels::avx512 {

inline constexpr size_t kLanes = 16;        // rows of a panel, and blocks decoded together for one token
inline constexpr size_t kSuper = 256;       // elements of an ActBlock
inline constexpr size_t kMaxBlockBytes = 292;  // the largest block of 256 elements (Q8_K)

TERN_INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

TERN_INLINE __mmask16 mask_lanes(size_t n) {
    return static_cast<__mmask16>(n >= kLanes ? 0xffffu : (1u << n) - 1u);
}

TERN_INLINE __m512i broadcast4(const void* p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

TERN_INLINE __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
TERN_INLINE __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// 16 bytes from each of 16 places `stride` apart, transposed: dword lane r of out[g] holds bytes 4g..4g+3 of place r.
TERN_INLINE void load_transposed(const uint8_t* p, size_t stride, __m512i out[4]) {
    __m512i z[4];
    TERN_UNROLL
    for (size_t i = 0; i < 4; ++i) {
        __m512i v = _mm512_castsi128_si512(load16(p + i * stride));
        v = _mm512_inserti32x4(v, load16(p + (4 + i) * stride), 1);
        v = _mm512_inserti32x4(v, load16(p + (8 + i) * stride), 2);
        z[i] = _mm512_inserti32x4(v, load16(p + (12 + i) * stride), 3);
    }
    const __m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
    const __m512i c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm512_unpacklo_epi64(a, c);
    out[1] = _mm512_unpackhi_epi64(a, c);
    out[2] = _mm512_unpacklo_epi64(b, d);
    out[3] = _mm512_unpackhi_epi64(b, d);
}

// The same for 4 bytes of each place: one vector.
TERN_INLINE __m512i load_transposed4(const uint8_t* p, size_t stride) {
    int32_t t[kLanes];
    TERN_UNROLL
    for (size_t r = 0; r < kLanes; ++r) memcpy(&t[r], p + r * stride, 4);
    return _mm512_setr_epi32(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13],
                             t[14], t[15]);
}

// One f16 from each of 16 places. The lanes go through registers: a vector load right after 16 narrow stores would
// wait for them all.
TERN_INLINE __m512 load_halves(const uint8_t* p, size_t stride) {
    uint16_t t[kLanes];
    TERN_UNROLL
    for (size_t r = 0; r < kLanes; ++r) memcpy(&t[r], p + r * stride, 2);
    auto s = [&](size_t i) { return static_cast<short>(t[i]); };
    return _mm512_cvtph_ps(_mm256_setr_epi16(s(0), s(1), s(2), s(3), s(4), s(5), s(6), s(7), s(8), s(9), s(10),
                                             s(11), s(12), s(13), s(14), s(15)));
}

// The low halves of the dwords as f16.
TERN_INLINE __m512 low_halves(__m512i v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }
TERN_INLINE __m512 high_halves(__m512i v) { return low_halves(_mm512_srli_epi32(v, 16)); }

TERN_INLINE __m512i bytes(int v) { return _mm512_set1_epi8(static_cast<char>(v)); }
// a | (b & c)
TERN_INLINE __m512i or_and(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi32(a, b, c, 0xf8); }

// Byte n of each dword, zero-extended.
TERN_INLINE __m512i byte_of(__m512i v, int n) {
    return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(8 * n)), _mm512_set1_epi32(255));
}
// Byte n of each dword, sign-extended.
TERN_INLINE __m512i signed_byte_of(__m512i v, int n) {
    return _mm512_srai_epi32(_mm512_slli_epi32(v, static_cast<unsigned>(24 - 8 * n)), 24);
}
// Bytes 2n and 2n + 1 of each dword, zero-extended to a pair of int16.
TERN_INLINE __m512i byte_pair_of(__m512i v, int n) {
    const __m512i lanes = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const __m512i index = n ? _mm512_set1_epi32(static_cast<int>(0x80038002u))
                            : _mm512_set1_epi32(static_cast<int>(0x80018000u));
    return _mm512_shuffle_epi8(v, _mm512_or_si512(index, lanes));
}
// The same, sign-extended.
TERN_INLINE __m512i signed_byte_pair_of(__m512i v, int n) {
    const __m512i lanes = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const __m512i index = n ? _mm512_set1_epi32(static_cast<int>(0x03800280u))
                            : _mm512_set1_epi32(static_cast<int>(0x01800080u));
    return _mm512_srai_epi16(_mm512_shuffle_epi8(v, _mm512_or_si512(index, lanes)), 8);
}

// The header of Q4_K and Q5_K (d, dmin, 12 bytes of packed 6-bit scales and minimums) of 16 places. Byte j % 4 of
// lane r of scale[j / 4] is the scale of group j of place r; likewise min.
struct KHeader {
    __m512 d, dmin;
    __m512i scale[2], min[2];
};
TERN_INLINE KHeader load_k_header(const uint8_t* p, size_t stride) {
    __m512i h[4];
    load_transposed(p, stride, h);
    const __m512i k3f = bytes(0x3f), k0f = bytes(0x0f), k30 = bytes(0x30);
    KHeader r;
    r.d = low_halves(h[0]);
    r.dmin = high_halves(h[0]);
    r.scale[0] = _mm512_and_si512(h[1], k3f);
    r.min[0] = _mm512_and_si512(h[2], k3f);
    r.scale[1] = or_and(_mm512_and_si512(h[3], k0f), _mm512_srli_epi32(h[1], 2), k30);
    r.min[1] = or_and(_mm512_and_si512(_mm512_srli_epi32(h[3], 4), k0f), _mm512_srli_epi32(h[2], 2), k30);
    return r;
}

// Lane i of the result is the sum of the lanes of v[i].
TERN_INLINE __m512i reduce16(const __m512i* v) {
    __m512i a[8], b[4];
    TERN_UNROLL
    for (int i = 0; i < 8; ++i) {
        const __m512i x = _mm512_load_si512(v + 2 * i), y = _mm512_load_si512(v + 2 * i + 1);
        a[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
    }
    TERN_UNROLL
    for (int i = 0; i < 4; ++i)
        b[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]),
                                _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
    const __m512i c = _mm512_add_epi32(_mm512_shuffle_i32x4(b[0], b[1], 0x88), _mm512_shuffle_i32x4(b[0], b[1], 0xdd));
    const __m512i d = _mm512_add_epi32(_mm512_shuffle_i32x4(b[2], b[3], 0x88), _mm512_shuffle_i32x4(b[2], b[3], 0xdd));
    return _mm512_add_epi32(_mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xdd));
}

TERN_INLINE void transpose16(__m512 v[16]) {
    __m512 a[16];
    TERN_UNROLL
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    TERN_UNROLL
    for (int i = 0; i < 16; i += 4) {
        const __m512d p = _mm512_castps_pd(a[i]), q = _mm512_castps_pd(a[i + 1]);
        const __m512d r = _mm512_castps_pd(a[i + 2]), s = _mm512_castps_pd(a[i + 3]);
        v[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(p, r));
        v[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(p, r));
        v[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(q, s));
        v[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(q, s));
    }
    TERN_UNROLL
    for (int i = 0; i < 4; ++i) {
        a[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        a[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        a[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        a[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
    }
    TERN_UNROLL
    for (int i = 0; i < 4; ++i) {
        v[i] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(a[i], a[i + 8], 0xdd);
        v[i + 4] = _mm512_shuffle_f32x4(a[i + 4], a[i + 12], 0x88);
        v[i + 12] = _mm512_shuffle_f32x4(a[i + 4], a[i + 12], 0xdd);
    }
}

}  // namespace tern::kernels::avx512
