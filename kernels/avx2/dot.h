// Dot products of bytes and of pairs of int16 by AVX2: the vocabulary that matmul_panel.h and matmul_stream*.h are
// written in. kernels/avxvnni/dot.h is the other one. One of them per translation unit, included first; everything has
// internal linkage (kernels/simd/README.md).
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TERN_INLINE static inline __attribute__((always_inline))

namespace tern::kernels {

// vpmaddubsw adds two products in 16 bits and saturates. It is exact for unsigned bytes up to 127 (127 * 127 * 2 =
// 32258), for smaller ones also after several additions; a magnitude of 128 is exact because activations reach
// -128 only where its sign was turned.

// acc + a0 * b0 + a1 * b1 of int16 pairs, in int32.
TERN_INLINE __m256i add_pairs(__m256i acc, __m256i a, __m256i b) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}
// acc + four products each of unsigned bytes up to 127 and signed ones, in int32.
TERN_INLINE __m256i add_bytes(__m256i acc, __m256i u, __m256i a) {
    return add_pairs(acc, _mm256_maddubs_epi16(u, a), _mm256_set1_epi16(1));
}
// The same for signed bytes q, minus kSignedBias times the sum of the a.
static constexpr int kSignedBias = 0;
TERN_INLINE __m256i add_signed_bytes(__m256i acc, __m256i q, __m256i a) {
    return add_pairs(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(a, q)), _mm256_set1_epi16(1));
}
// A pair of int16 scales: the first for the lower 128 bits, the second for the upper.
TERN_INLINE __m256i spread_wide_pair(const int32_t* pair) {
    const __m256i index = _mm256_setr_epi32(0x01000100, 0x01000100, 0x01000100, 0x01000100, 0x03020302, 0x03020302,
                                            0x03020302, 0x03020302);
    return _mm256_shuffle_epi8(_mm256_set1_epi32(*pair), index);
}
// acc + scale * (the products of q0 and a0, and of q1 and a1), minus the same bias; int16 scales.
TERN_INLINE __m256i add_scaled_signed(__m256i acc, __m256i q0, __m256i a0, __m256i q1, __m256i a1, __m256i scale) {
    acc = add_pairs(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(q0), _mm256_sign_epi8(a0, q0)), scale);
    return add_pairs(acc, _mm256_maddubs_epi16(_mm256_abs_epi8(q1), _mm256_sign_epi8(a1, q1)), scale);
}

// ---- panels ----------------------------------------------------------------------------------------------------------
// A partial sum holds products of at most `narrow` steps in int16 before a multiplication with the scale, int16 twice
// in each lane, widens it.
static constexpr bool kWidePartials = false;
TERN_INLINE __m256i partial_first(__m256i u, __m256i a) { return _mm256_maddubs_epi16(u, a); }
TERN_INLINE __m256i partial_add(__m256i p, __m256i u, __m256i a) {
    p = _mm256_add_epi16(p, _mm256_maddubs_epi16(u, a));
    asm("" : "+x"(p));  // else GCC makes a tree of the additions, whose leaves do not fit in the registers
    return p;
}
TERN_INLINE __m256i add_partial(__m256i sum, __m256i p) { return add_pairs(sum, p, _mm256_set1_epi16(1)); }
TERN_INLINE __m256i add_scaled_partial(__m256i sum, __m256i p, __m256i scale) { return add_pairs(sum, p, scale); }
// Lanes of int16 in the lower halves, as add_scaled_partial wants them.
TERN_INLINE __m256i scale_lanes(__m256i low) {
    const __m256i v = _mm256_and_si256(low, _mm256_set1_epi32(0xffff));
    return _mm256_or_si256(v, _mm256_slli_epi32(v, 16));
}

static constexpr int kTileTokens = 3;  // the tile's sums and partial sums fill 12 registers

}  // namespace tern::kernels
