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
TERN_INLINE __m256i add_scaled_signed(__m256i acc, __m256i q0, __m256i a0, __m256i q1, __m256i a1, __m256i scale) {
    const __m256i dot = add_signed_bytes(add_signed_bytes(_mm256_setzero_si256(), q0, a0), q1, a1);
    const __m256i wide = _mm256_srai_epi32(_mm256_slli_epi32(scale, 16), 16);
    return _mm256_add_epi32(acc, _mm256_mullo_epi32(dot, wide));
}

static constexpr bool kWidePartials = true;
TERN_INLINE __m256i partial_first(__m256i u, __m256i a) {
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u, a);
}
TERN_INLINE __m256i partial_add(__m256i p, __m256i u, __m256i a) { return _mm256_dpbusd_avx_epi32(p, u, a); }
TERN_INLINE __m256i add_partial(__m256i sum, __m256i p) { return _mm256_add_epi32(sum, p); }
TERN_INLINE __m256i add_scaled_partial(__m256i sum, __m256i p, __m256i scale) {
    return _mm256_add_epi32(sum, _mm256_mullo_epi32(p, scale));
}
TERN_INLINE __m256i scale_lanes(__m256i low) { return _mm256_srai_epi32(_mm256_slli_epi32(low, 16), 16); }

static constexpr int kTileTokens = 6;  // twelve partial sums, enough to hide the latency; the sums stand in memory

}  // namespace tern::kernels
