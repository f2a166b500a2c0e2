// Dot products by AVX-VNNI, the vocabulary of kernels/avx2/dot.h: four products of bytes are added to int32 at once, so
// partial sums hold any number of steps and unsigned bytes may have eight bits.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TERN_INLINE static inline __attribute__((always_inline))

namespace tern::kernels {

TERN_INLINE __m256i add_pairs(__m256i acc, __m256i a, __m256i b) { return _mm256_dpwssd_avx_epi32(acc, a, b); }
TERN_INLINE __m256i add_bytes(__m256i acc, __m256i u, __m256i a) { return _mm256_dpbusd_avx_epi32(acc, u, a); }
static constexpr int kSignedBias = 128;
TERN_INLINE __m256i add_signed_bytes(__m256i acc, __m256i q, __m256i a) {
    return _mm256_dpbusd_avx_epi32(acc, _mm256_xor_si256(q, _mm256_set1_epi8(-128)), a);
}

// Multiplying int32 lanes takes two slow instructions. A scale of eight bits needs less: n * s = (n mod 256) * s +
// (n / 256 rounded down) * (256 * s), two int16 products, exact for n of up to 24 bits.
TERN_INLINE __m256i add_scaled(__m256i acc, __m256i n, __m256i scale) {
    const __m256i lanes = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
    const __m256i parts = _mm256_or_si256(lanes, _mm256_set1_epi32(0x02018000));
    return _mm256_dpwssd_avx_epi32(acc, _mm256_shuffle_epi8(n, parts), scale);
}
// The scales for it: a pair of int16, the first for the lower 128 bits, the second for the upper.
TERN_INLINE __m256i spread_wide_pair(const int32_t* pair) {
    const __m256i index = _mm256_setr_epi32(0x00800100, 0x00800100, 0x00800100, 0x00800100, 0x02800302, 0x02800302,
                                            0x02800302, 0x02800302);
    return _mm256_shuffle_epi8(_mm256_set1_epi32(*pair), index);
}
TERN_INLINE __m256i add_scaled_signed(__m256i acc, __m256i q0, __m256i a0, __m256i q1, __m256i a1, __m256i scale) {
    return add_scaled(acc, add_signed_bytes(add_signed_bytes(_mm256_setzero_si256(), q0, a0), q1, a1), scale);
}

static constexpr bool kWidePartials = true;
TERN_INLINE __m256i partial_first(__m256i u, __m256i a) {
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u, a);
}
TERN_INLINE __m256i partial_add(__m256i p, __m256i u, __m256i a) { return _mm256_dpbusd_avx_epi32(p, u, a); }
TERN_INLINE __m256i add_partial(__m256i sum, __m256i p) { return _mm256_add_epi32(sum, p); }
TERN_INLINE __m256i add_scaled_partial(__m256i sum, __m256i p, __m256i scale) {
    return add_scaled(sum, p, scale);
}
TERN_INLINE __m256i scale_lanes(__m256i low) {
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(low, 24));
}

static constexpr int kTileTokens = 6;  // twelve partial sums, enough to hide the latency; the sums stand in memory

}  // namespace tern::kernels
