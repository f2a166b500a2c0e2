#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/avx2/table.h"
#include "kernels/kernel.h"

namespace tern::kernels::avx2 {

static inline __m256i magnitude_bits(const float* x) {
    return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)),
                            _mm256_set1_epi32(0x7fffffff));
}
static inline uint32_t largest_of(__m256i v) {
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(a));
}

static inline float float_of(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

struct Scale {
    float d;        // of one step; NaN when the input is not finite
    float inverse;  // 0 where every q is 0
};
static inline Scale scale_of(uint32_t largest) {
    if (largest >= 0x7f800000) return {__builtin_nanf(""), 0.0f};
    const float amax = float_of(largest);
    if (amax < 0x1p-100f) return {0.0f, 0.0f};
    return {amax / 127.0f, 127.0f / amax};
}

static inline __m256i quantize8(const float* x, __m256 inverse) {
    const __m256 limit = _mm256_set1_ps(127.0f);
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x), inverse);
    v = _mm256_max_ps(_mm256_min_ps(v, limit), _mm256_sub_ps(_mm256_setzero_ps(), limit));
    return _mm256_cvtps_epi32(_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline __m256i quantize32(const float* x, __m256 inverse) {
    // Packing works inside 128 bits, which leaves groups of four in the order 0 2 4 6 1 3 5 7.
    const __m256i a = _mm256_packs_epi32(quantize8(x, inverse), quantize8(x + 8, inverse));
    const __m256i b = _mm256_packs_epi32(quantize8(x + 16, inverse), quantize8(x + 24, inverse));
    return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// Sums over 16 of 32 values: two int32 in the lower halves of the 128-bit lanes' 64 bits.
static inline void sums_of_32(const int8_t* q, int16_t* first, int16_t* second) {
    const __m256i v = _mm256_load_si256(reinterpret_cast<const __m256i*>(q));
    const __m256i two = _mm256_maddubs_epi16(_mm256_set1_epi8(1), v);
    const __m256i four = _mm256_madd_epi16(two, _mm256_set1_epi16(1));
    const __m256i eight = _mm256_hadd_epi32(four, four);
    const __m256i all = _mm256_hadd_epi32(eight, eight);
    *first = static_cast<int16_t>(_mm256_extract_epi32(all, 0));
    *second = static_cast<int16_t>(_mm256_extract_epi32(all, 4));
}

static void quantize_q8_256(const float* x, size_t k, ActBlock* out, size_t stride) {
    for (; k >= 256; k -= 256, x += 256, out += stride) {
        __m256i top = _mm256_setzero_si256();
        for (size_t i = 0; i < 256; i += 8) top = _mm256_max_epi32(top, magnitude_bits(x + i));
        const Scale scale = scale_of(largest_of(top));
        out->k.d = scale.d;
        if (scale.inverse == 0.0f) {
            __builtin_memset(out->q, 0, sizeof out->q);
        } else {
            const __m256 inverse = _mm256_set1_ps(scale.inverse);
            for (size_t i = 0; i < 256; i += 32)
                _mm256_store_si256(reinterpret_cast<__m256i*>(out->q + i), quantize32(x + i, inverse));
        }
        for (size_t i = 0; i < 8; ++i) {
            int16_t* sum16 = out->k.sum16 + 2 * i;
            sums_of_32(out->q + 32 * i, sum16, sum16 + 1);
            out->k.sum32[i] = static_cast<int16_t>(sum16[0] + sum16[1]);
        }
    }
}

static void quantize_q8_32(const float* x, size_t k, ActBlock* out, size_t stride) {
    for (; k > 0; out += stride) {
        const size_t n = k < 256 ? k : 256;
        __builtin_memset(out, 0, sizeof *out);
        for (size_t i = 0; i < n; i += 32) {
            __m256i top = _mm256_max_epi32(magnitude_bits(x + i), magnitude_bits(x + i + 8));
            top = _mm256_max_epi32(top, _mm256_max_epi32(magnitude_bits(x + i + 16), magnitude_bits(x + i + 24)));
            const Scale scale = scale_of(largest_of(top));
            out->b.d[i / 32] = scale.d;
            if (scale.inverse == 0.0f) continue;
            _mm256_store_si256(reinterpret_cast<__m256i*>(out->q + i),
                               quantize32(x + i, _mm256_set1_ps(scale.inverse)));
            int16_t first, second;
            sums_of_32(out->q + i, &first, &second);
            out->b.sum[i / 32] = static_cast<int16_t>(first + second);
        }
        x += n;
        k -= n;
    }
}

void fill_quantize(KernelTable& table) noexcept {
    table.quantize_q8_256 = quantize_q8_256;
    table.quantize_q8_32 = quantize_q8_32;
}

}  // namespace tern::kernels::avx2
