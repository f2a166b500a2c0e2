// Building blocks of the quantised matrix products of 256-bit x86. The headers matmul_*.h are their bodies: this folder
// instantiates them with the dot products of AVX2, kernels/avxvnni with its own. A translation unit includes the
// vocabulary (dot.h of its folder) first; everything is internal to the object that includes it.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/formats/format.h"
#include "kernels/kernel.h"
#if defined(__clang__)
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#define TERN_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 64")
#define TERN_NO_UNROLL _Pragma("GCC unroll 1")
#endif

namespace tern::kernels {

static constexpr size_t kSuper = 256;  // elements of an ActBlock

TERN_INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

TERN_INLINE __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
TERN_INLINE __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
TERN_INLINE void store32(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

TERN_INLINE uint32_t load_u32(const void* p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
TERN_INLINE __m256i broadcast4(const void* p) { return _mm256_set1_epi32(static_cast<int>(load_u32(p))); }

TERN_INLINE float half_to_float(const void* p) {
    uint16_t h;
    memcpy(&h, p, 2);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

TERN_INLINE __m256i bytes(int v) { return _mm256_set1_epi8(static_cast<char>(v)); }

}  // namespace tern::kernels
