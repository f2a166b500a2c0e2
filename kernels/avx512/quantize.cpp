#include "kernels/avx512/intrinsics.h"
#include <stddef.h>
#include <stdint.h>

#include "kernels/avx512/table.h"
#include "kernels/kernel.h"

namespace tern::kernels::avx512 {

static inline __m512i magnitude_bits(const float* x) {
    return _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0x7fffffff));
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

static inline __m128i quantize16(const float* x, __m512 inverse) {
    const __m512 limit = _mm512_set1_ps(127.0f);
    __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x), inverse);
    v = _mm512_max_ps(_mm512_min_ps(v, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
    return _mm512_cvtepi32_epi8(
        _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// The 16 sums over 16 of 256 values, as int32.
static inline __m512i sums16(const int8_t* q) {
    const __m512i ones8 = _mm512_set1_epi8(1);
    const __m512i ones16 = _mm512_set1_epi16(1);
    __m512i d[4];  // sums of 4; d[j] covers values 64 j … 64 j + 63
    for (size_t j = 0; j < 4; ++j)
        d[j] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones8, _mm512_loadu_si512(q + 64 * j));
    // Sums of 8, then of 16. Packing works inside 128 bits: lane l of each holds what came from values 16 l … of d[j].
    const __m512i a = _mm512_madd_epi16(_mm512_packs_epi32(d[0], d[1]), ones16);
    const __m512i b = _mm512_madd_epi16(_mm512_packs_epi32(d[2], d[3]), ones16);
    const __m512i c = _mm512_madd_epi16(_mm512_packs_epi32(a, b), ones16);
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, c);
}
static inline __m256i narrow(__m512i sums) { return _mm512_cvtepi32_epi16(sums); }
static inline __m128i pairs(__m256i sums) {
    return _mm256_cvtepi32_epi16(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
}

static void quantize_q8_256(const float* x, size_t k, ActBlock* out, size_t stride) {
    for (; k >= 256; k -= 256, x += 256, out += stride) {
        __m512i top = _mm512_setzero_si512();
        for (size_t i = 0; i < 256; i += 16) top = _mm512_max_epi32(top, magnitude_bits(x + i));
        const uint32_t largest = static_cast<uint32_t>(_mm512_reduce_max_epi32(top));
        const Scale scale = scale_of(largest);
        out->k.d = scale.d;
        if (scale.inverse == 0.0f) {
            __builtin_memset(out->q, 0, sizeof out->q);
        } else {
            const __m512 inverse = _mm512_set1_ps(scale.inverse);
            for (size_t i = 0; i < 256; i += 16)
                _mm_store_si128(reinterpret_cast<__m128i*>(out->q + i), quantize16(x + i, inverse));
        }
        const __m256i sum16 = narrow(sums16(out->q));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out->k.sum16), sum16);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out->k.sum32), pairs(sum16));
    }
}

static void quantize_q8_32(const float* x, size_t k, ActBlock* out, size_t stride) {
    for (; k > 0; out += stride) {
        const size_t n = k < 256 ? k : 256;
        if (n < 256) __builtin_memset(out, 0, sizeof *out);
        for (size_t i = 0; i < n; i += 32) {
            const uint32_t largest = static_cast<uint32_t>(
                _mm512_reduce_max_epi32(_mm512_max_epi32(magnitude_bits(x + i), magnitude_bits(x + i + 16))));
            const Scale scale = scale_of(largest);
            out->b.d[i / 32] = scale.d;
            __m128i lo = _mm_setzero_si128();
            __m128i hi = _mm_setzero_si128();
            if (scale.inverse != 0.0f) {
                const __m512 inverse = _mm512_set1_ps(scale.inverse);
                lo = quantize16(x + i, inverse);
                hi = quantize16(x + i + 16, inverse);
            }
            _mm_store_si128(reinterpret_cast<__m128i*>(out->q + i), lo);
            _mm_store_si128(reinterpret_cast<__m128i*>(out->q + i + 16), hi);
        }
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out->b.sum), pairs(narrow(sums16(out->q))));
        if (n == 256) __builtin_memset(reinterpret_cast<char*>(out) + offsetof(ActBlock, b) + sizeof out->b, 0,
                                       sizeof *out - offsetof(ActBlock, b) - sizeof out->b);
        x += n;
        k -= n;
    }
}

void fill_quantize(KernelTable& table) noexcept {
    table.quantize_q8_256 = quantize_q8_256;
    table.quantize_q8_32 = quantize_q8_32;
}

}  // namespace tern::kernels::avx512
