// Formats of 256 elements that have an unpacker but no stream of their own: few tokens multiply one unpacked row.
#pragma once

#include "kernels/avx2/matmul_panel.h"

namespace tern::kernels {
namespace {

TERN_INLINE int32_t sum_lanes(__m256i v) {
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}

// One block of a row times one token's.
template <PanelKind kKind>
TERN_INLINE float dot_256(const Row& row, const ActBlock& a, float acc) {
    __m256i sum = _mm256_setzero_si256();
    TERN_UNROLL
    for (int v = 0; v < 8; ++v) {
        const __m256i scale = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16(row.scale[2 * v])),
                                                      _mm_set1_epi16(row.scale[2 * v + 1]), 1);
        const __m256i q = load32(row.q + 32 * v), x = load32(a.q + 32 * v);
        const __m256i p = kKind.is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(x, q))
                                          : _mm256_maddubs_epi16(q, x);
        sum = add_pairs(sum, p, scale);
    }
    const __m256i sums = load32(a.k.sum16);
    if constexpr (kKind.bias != 0) {
        const __m256i offset = _mm256_madd_epi16(load32(row.scale), sums);
        sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(offset, _mm256_set1_epi32(kKind.bias)));
    }
    const float s = static_cast<float>(sum_lanes(sum));
    float u = row.d[0] * s;
    if constexpr (kKind.has_min) {
        const float m = static_cast<float>(sum_lanes(_mm256_madd_epi16(load32(row.min), sums)));
        u = __builtin_fmaf(row.d[0], s, -(row.dmin[0] * m));
    }
    return __builtin_fmaf(a.k.d, u, acc);
}

constexpr size_t kSingleTokens = 4;  // more are faster through panels

template <PanelKind kKind>
void run_single(const RowFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const ActBlock* act = static_cast<const ActBlock*>(args.act);
    constexpr size_t kDistance = 4096;
    Row unpacked;
    for (size_t r = 0; r < args.rows; ++r) {
        const uint8_t* p = w + r * args.w_row_bytes;
        float acc[kSingleTokens] = {};
        for (size_t s = 0; s < args.k / kSuper; ++s, p += format.block_bytes) {
            prefetch_lines(p + kDistance, format.block_bytes);
            format.unpack(p, 1, ops, unpacked);
            for (size_t t = 0; t < args.tokens; ++t)
                acc[t] = dot_256<kKind>(unpacked, act[s * args.act_stride + t], acc[t]);
        }
        for (size_t t = 0; t < args.tokens; ++t) args.out[t * args.out_stride + r] = acc[t];
    }
}

template <PanelKind kKind>
void run_rows(const RowFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    static_assert(kKind.block == 256);
    if (args.tokens <= kSingleTokens)
        run_single<kKind>(format, ops, args);
    else
        run_panels<kKind>(format, ops, args);
}
inline size_t rows_scratch_bytes(size_t, size_t tokens) { return panel_scratch_bytes(tokens); }

}  // namespace
}  // namespace tern::kernels
