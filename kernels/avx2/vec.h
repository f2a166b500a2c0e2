// 16 floats in two YMM registers: the vocabulary that kernels/simd is written in. Everything has internal linkage; see
// kernels/simd/README.md for the contract.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TERN_INLINE static inline __attribute__((always_inline))

namespace tern::kernels {

// ---- registers: kParts of them hold the 16 lanes -------------------------------------------------------------------
using Reg = __m256;
static constexpr size_t kLanes = 8;
static constexpr size_t kParts = 2;

TERN_INLINE Reg reg_zero() { return _mm256_setzero_ps(); }
TERN_INLINE Reg reg_set1(float x) { return _mm256_set1_ps(x); }
TERN_INLINE Reg reg_load(const float* p) { return _mm256_loadu_ps(p); }
TERN_INLINE void reg_store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
TERN_INLINE Reg reg_load_f16(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TERN_INLINE Reg reg_load_bf16(const uint16_t* p) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
TERN_INLINE Reg reg_fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }

// ---- vectors of 16 --------------------------------------------------------------------------------------------------
struct Vec {
    __m256 lo, hi;
};
struct Mask {
    __m256i lo, hi;  // all bits of a lane, or none
};

TERN_INLINE Mask mask_first(size_t n) {
    const __m256i count = _mm256_set1_epi32(static_cast<int>(n < 16 ? n : 16));
    return {_mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}
// Lane i of the result: bit i of `bits`.
TERN_INLINE Mask mask_bits(uint32_t bits) {
    const __m256i all = _mm256_set1_epi32(static_cast<int>(bits));
    const __m256i lo = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i hi = _mm256_slli_epi32(lo, 8);
    return {_mm256_cmpeq_epi32(_mm256_and_si256(all, lo), lo), _mm256_cmpeq_epi32(_mm256_and_si256(all, hi), hi)};
}
TERN_INLINE Mask mask_less(Vec a, Vec b) {
    return {_mm256_castps_si256(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
            _mm256_castps_si256(_mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
TERN_INLINE Mask mask_equal(Vec a, Vec b) {
    return {_mm256_castps_si256(_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ)),
            _mm256_castps_si256(_mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ))};
}
TERN_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm256_blendv_ps(no.lo, yes.lo, _mm256_castsi256_ps(m.lo)),
            _mm256_blendv_ps(no.hi, yes.hi, _mm256_castsi256_ps(m.hi))};
}

TERN_INLINE Vec zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
TERN_INLINE Vec set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
TERN_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
TERN_INLINE void store(float* p, Vec v) {
    _mm256_storeu_ps(p, v.lo);
    _mm256_storeu_ps(p + 8, v.hi);
}
// The first n lanes, n <= 16; the others are zero, or not written.
TERN_INLINE Vec load_part(const float* p, size_t n) {
    const Mask m = mask_first(n);
    return {_mm256_maskload_ps(p, m.lo), _mm256_maskload_ps(p + 8, m.hi)};
}
TERN_INLINE void store_part(float* p, Vec v, size_t n) {
    const Mask m = mask_first(n);
    _mm256_maskstore_ps(p, m.lo, v.lo);
    _mm256_maskstore_ps(p + 8, m.hi, v.hi);
}
TERN_INLINE Vec load_f16(const uint16_t* p) { return {reg_load_f16(p), reg_load_f16(p + 8)}; }
TERN_INLINE Vec load_f16_part(const uint16_t* p, size_t n) {
    uint16_t whole[16] = {};
    __builtin_memcpy(whole, p, n * sizeof *p);
    return load_f16(whole);
}
TERN_INLINE Vec load_bf16_part(const uint16_t* p, size_t n) {
    uint16_t whole[16] = {};
    __builtin_memcpy(whole, p, n * sizeof *p);
    return {reg_load_bf16(whole), reg_load_bf16(whole + 8)};
}
TERN_INLINE __m256 reg_load_i8(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
TERN_INLINE Vec load_i8(const int8_t* p) { return {reg_load_i8(p), reg_load_i8(p + 8)}; }
TERN_INLINE Vec load_i8_part(const int8_t* p, size_t n) {
    int8_t whole[16] = {};
    __builtin_memcpy(whole, p, n);
    return load_i8(whole);
}
// Four bits of each byte, from bit `shift` (0 or 4) on, less 8.
TERN_INLINE Vec load_u4(const uint8_t* p, unsigned shift) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i shifted = _mm_srl_epi16(bytes, _mm_cvtsi32_si128(static_cast<int>(shift)));
    const __m128i q = _mm_sub_epi8(_mm_and_si128(shifted, _mm_set1_epi8(15)), _mm_set1_epi8(8));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)))};
}
TERN_INLINE Vec load_u4_part(const uint8_t* p, unsigned shift, size_t n) {
    uint8_t whole[16] = {};
    __builtin_memcpy(whole, p, n);
    return load_u4(whole, shift);
}
TERN_INLINE void store_f16(uint16_t* p, Vec v) {
    enum { kRounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v.lo, kRounding));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(v.hi, kRounding));
}
TERN_INLINE void store_f16_part(uint16_t* p, Vec v, size_t n) {
    uint16_t whole[16];
    store_f16(whole, v);
    __builtin_memcpy(p, whole, n * sizeof *p);
}

TERN_INLINE Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
TERN_INLINE Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
TERN_INLINE Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
TERN_INLINE Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
TERN_INLINE Vec fma(Vec a, Vec b, Vec c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
TERN_INLINE Vec fnma(Vec a, Vec b, Vec c) {  // c - a * b
    return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
// fma in the lanes of m, c in the others.
TERN_INLINE Vec fma_where(Mask m, Vec a, Vec b, Vec c) { return select(m, fma(a, b, c), c); }
// b where either is NaN.
TERN_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
TERN_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
// The sign bits of `signs` turn those of a.
TERN_INLINE Vec flip_signs(Vec a, Vec signs) { return {_mm256_xor_ps(a.lo, signs.lo), _mm256_xor_ps(a.hi, signs.hi)}; }
TERN_INLINE Vec magnitude(Vec a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
TERN_INLINE Vec with_sign_of(Vec a, Vec sign) {  // a >= 0
    const __m256 bit = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(a.lo, _mm256_and_ps(sign.lo, bit)), _mm256_or_ps(a.hi, _mm256_and_ps(sign.hi, bit))};
}
TERN_INLINE Vec round_even(Vec a) {
    enum { kRounding = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
    return {_mm256_round_ps(a.lo, kRounding), _mm256_round_ps(a.hi, kRounding)};
}
// a * 2^n rounded once; a in [0.5, 2], n integral in [-151, 129]. Half of the power first, which is exact.
TERN_INLINE __m256 reg_scale_by_power(__m256 a, __m256 n) {
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256i e = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(e, 1);
    const __m256i rest = _mm256_sub_epi32(e, half);
    const __m256 p = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const __m256 q = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(a, p), q);
}
TERN_INLINE Vec scale_by_power(Vec a, Vec n) {
    return {reg_scale_by_power(a.lo, n.lo), reg_scale_by_power(a.hi, n.hi)};
}

TERN_INLINE float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
TERN_INLINE float first_lane(Vec a) { return _mm256_cvtss_f32(a.lo); }

// The fixed tree: s[i] += s[i + 8], then 4, 2, 1.
TERN_INLINE float tree(Vec v) {
    const __m256 a = _mm256_add_ps(v.lo, v.hi);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
TERN_INLINE float largest(Vec v) {
    const __m256 a = _mm256_max_ps(v.lo, v.hi);
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

// Pairs: a0 b0 a1 b1 … of eight each; the even or odd lanes twice.
TERN_INLINE __m256 reg_interleave4(const float* a, const float* b) {
    const __m128 x = _mm_loadu_ps(a);
    const __m128 y = _mm_loadu_ps(b);
    return _mm256_set_m128(_mm_unpackhi_ps(x, y), _mm_unpacklo_ps(x, y));
}
TERN_INLINE Vec interleave8(const float* a, const float* b) {
    return {reg_interleave4(a, b), reg_interleave4(a + 4, b + 4)};
}
TERN_INLINE Vec evens_twice(Vec a) { return {_mm256_moveldup_ps(a.lo), _mm256_moveldup_ps(a.hi)}; }
TERN_INLINE Vec odds_twice(Vec a) { return {_mm256_movehdup_ps(a.lo), _mm256_movehdup_ps(a.hi)}; }

TERN_INLINE void loads_stay_below() {}
// Into the first-level cache, and into the second.
TERN_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
TERN_INLINE void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

// ---- tile shapes, chosen for 16 registers ---------------------------------------------------------------------------
// Float matrix product: rows x tokens of one pass.
static constexpr size_t kTileRows = 4;
static constexpr size_t kTileTokens = 3;
// Attention: query rows x vectors of positions, or of output.
static constexpr size_t kQueryTile = 3;
static constexpr size_t kScoreVecs = 2;
static constexpr size_t kValueVecs = 2;

}  // namespace tern::kernels
