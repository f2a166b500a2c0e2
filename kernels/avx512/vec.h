// 16 floats in one ZMM register: the vocabulary that kernels/simd is written in. Everything has internal linkage; see
// kernels/simd/README.md for the contract.
#pragma once

#include "kernels/avx512/intrinsics.h"
#include <stddef.h>
#include <stdint.h>

#define TERN_INLINE static inline __attribute__((always_inline))

namespace tern::kernels {

// ---- registers: kParts of them hold the 16 lanes -------------------------------------------------------------------
using Reg = __m512;
static constexpr size_t kLanes = 16;
static constexpr size_t kParts = 1;

TERN_INLINE Reg reg_zero() { return _mm512_setzero_ps(); }
TERN_INLINE Reg reg_set1(float x) { return _mm512_set1_ps(x); }
TERN_INLINE Reg reg_load(const float* p) { return _mm512_loadu_ps(p); }
TERN_INLINE void reg_store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
TERN_INLINE Reg reg_load_f16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
TERN_INLINE Reg reg_load_bf16(const uint16_t* p) {
    const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
TERN_INLINE Reg reg_fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }

// ---- vectors of 16 --------------------------------------------------------------------------------------------------
using Vec = __m512;
using Mask = __mmask16;

TERN_INLINE Mask mask_first(size_t n) {
    return n >= 16 ? Mask{0xffff} : static_cast<Mask>((1u << n) - 1);
}
// Lane i of the result: bit i of `bits`.
TERN_INLINE Mask mask_bits(uint32_t bits) { return static_cast<Mask>(bits); }
TERN_INLINE Mask mask_less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
TERN_INLINE Mask mask_equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
TERN_INLINE Vec select(Mask m, Vec yes, Vec no) { return _mm512_mask_blend_ps(m, no, yes); }

TERN_INLINE Vec zero() { return _mm512_setzero_ps(); }
TERN_INLINE Vec set1(float x) { return _mm512_set1_ps(x); }
TERN_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
TERN_INLINE void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
// The first n lanes, n <= 16; the others are zero, or not written.
TERN_INLINE Vec load_part(const float* p, size_t n) { return _mm512_maskz_loadu_ps(mask_first(n), p); }
TERN_INLINE void store_part(float* p, Vec v, size_t n) { _mm512_mask_storeu_ps(p, mask_first(n), v); }
TERN_INLINE Vec load_f16(const uint16_t* p) { return reg_load_f16(p); }
TERN_INLINE Vec load_f16_part(const uint16_t* p, size_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask_first(n), p));
}
TERN_INLINE Vec load_bf16_part(const uint16_t* p, size_t n) {
    const __m256i h = _mm256_maskz_loadu_epi16(mask_first(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
TERN_INLINE Vec load_i8(const int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
TERN_INLINE Vec load_i8_part(const int8_t* p, size_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask_first(n), p)));
}
// Four bits of each byte, from bit `shift` (0 or 4) on, less 8. The permutation looks at four bits of an index only.
TERN_INLINE Vec less_8(__m128i bytes, unsigned shift) {
    const __m512 levels = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
    const __m512i u = _mm512_srl_epi32(_mm512_cvtepu8_epi32(bytes), _mm_cvtsi32_si128(static_cast<int>(shift)));
    return _mm512_permutexvar_ps(u, levels);
}
TERN_INLINE Vec load_u4(const uint8_t* p, unsigned shift) {
    return less_8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), shift);
}
TERN_INLINE Vec load_u4_part(const uint8_t* p, unsigned shift, size_t n) {
    return less_8(_mm_maskz_loadu_epi8(mask_first(n), p), shift);
}
TERN_INLINE void store_f16(uint16_t* p, Vec v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
TERN_INLINE void store_f16_part(uint16_t* p, Vec v, size_t n) {
    _mm256_mask_storeu_epi16(p, mask_first(n),
                             _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

TERN_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
TERN_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
TERN_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
TERN_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
TERN_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
TERN_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
// fma in the lanes of m, c in the others.
TERN_INLINE Vec fma_where(Mask m, Vec a, Vec b, Vec c) { return _mm512_mask3_fmadd_ps(a, b, c, m); }
// b where either is NaN.
TERN_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
TERN_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
// The sign bits of `signs` turn those of a.
TERN_INLINE Vec flip_signs(Vec a, Vec signs) { return _mm512_xor_ps(a, signs); }
TERN_INLINE Vec magnitude(Vec a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
TERN_INLINE Vec with_sign_of(Vec a, Vec sign) {  // a >= 0
    return _mm512_or_ps(a, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}
TERN_INLINE Vec round_even(Vec a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// a * 2^n rounded once; a in [0.5, 2], n integral in [-151, 129].
TERN_INLINE Vec scale_by_power(Vec a, Vec n) { return _mm512_scalef_ps(a, n); }

TERN_INLINE float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
TERN_INLINE float first_lane(Vec a) { return _mm512_cvtss_f32(a); }

// The fixed tree: s[i] += s[i + 8], then 4, 2, 1.
TERN_INLINE float tree(Vec v) {
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
TERN_INLINE float largest(Vec v) {
    const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

// Pairs: a0 b0 a1 b1 … of eight each; the even or odd lanes twice.
TERN_INLINE Vec interleave8(const float* a, const float* b) {
    const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(_mm512_castps256_ps512(_mm256_loadu_ps(a)), order,
                                  _mm512_castps256_ps512(_mm256_loadu_ps(b)));
}
TERN_INLINE Vec evens_twice(Vec a) { return _mm512_moveldup_ps(a); }
TERN_INLINE Vec odds_twice(Vec a) { return _mm512_movehdup_ps(a); }

TERN_INLINE void loads_stay_below() {}
// Into the first-level cache, and into the second.
TERN_INLINE void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
TERN_INLINE void prefetch_far(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

// ---- tile shapes, chosen for 32 registers ---------------------------------------------------------------------------
// Float matrix product: rows x tokens of one pass.
static constexpr size_t kTileRows = 8;
static constexpr size_t kTileTokens = 3;
// Attention: query rows x vectors of positions, or of output.
static constexpr size_t kQueryTile = 6;
static constexpr size_t kScoreVecs = 4;
static constexpr size_t kValueVecs = 4;

}  // namespace tern::kernels
