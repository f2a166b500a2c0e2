// Every format of 256 elements through FormatOps::unpack, until one has kernels of its own.
#pragma once

#include "kernels/avx2/matmul_panel.h"

namespace tern::kernels {
namespace {

constexpr size_t block_of(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name: return block;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}
constexpr size_t bytes_of(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name: return bytes;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}

TERN_INLINE int32_t sum_lanes(__m256i v) {
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}

TERN_INLINE float fused_scalar(float a, float b, float c) {
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

// One block of a row of signed quants times one token's.
TERN_INLINE float dot_256(bool has_min, const Row& row, const ActBlock& a, float acc) {
    __m256i sum = _mm256_setzero_si256();
    TERN_UNROLL
    for (int v = 0; v < 8; ++v) {
        const __m256i scale = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16(row.scale[2 * v])),
                                                      _mm_set1_epi16(row.scale[2 * v + 1]), 1);
        const __m256i q = load32(row.q + 32 * v), x = load32(a.q + 32 * v);
        sum = add_pairs(sum, _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(x, q)), scale);
    }
    const float s = static_cast<float>(sum_lanes(sum));
    float u = row.d[0] * s;
    if (has_min) {
        const float m = static_cast<float>(sum_lanes(_mm256_madd_epi16(load32(row.min), load32(a.k.sum16))));
        u = fused_scalar(row.d[0], s, -(row.dmin[0] * m));
    }
    return fused_scalar(a.k.d, u, acc);
}

template <DType kDType, const FormatOps& kOps>
void run_general(const MatmulArgs& args) {
    static constexpr PanelKind kPlain = {.block = 256, .groups = 16, .narrow = 1, .is_signed = true};
    static constexpr PanelKind kMin = {.block = 256, .groups = 16, .narrow = 1, .has_min = true, .is_signed = true};
    const RowFormat row = general_row(bytes_of(kDType));
    if (args.tokens > 1) return kOps.has_min ? run_panels<kMin>(row, kOps, args) : run_panels<kPlain>(row, kOps, args);
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const ActBlock* act = static_cast<const ActBlock*>(args.act);
    Row unpacked;
    for (size_t r = 0; r < args.rows; ++r) {
        const uint8_t* p = w + r * args.w_row_bytes;
        float acc = 0.0f;
        for (size_t s = 0; s < args.k / kSuper; ++s, p += row.block_bytes) {
            row.unpack(p, 1, kOps, unpacked);
            acc = dot_256(kOps.has_min, unpacked, act[s * args.act_stride], acc);
        }
        args.out[r] = acc;
    }
}
size_t general_scratch_bytes(size_t, size_t tokens) { return panel_scratch_bytes(tokens); }

template <DType kDType, const FormatOps& kOps>
void set_one_general(KernelTable& table) {
    if constexpr (block_of(kDType) == kSuper)
        table.matmul[static_cast<size_t>(kDType)] = {run_general<kDType, kOps>, general_scratch_bytes, kPanelRows};
}

}  // namespace

static inline void set_general(KernelTable& table) {
#define TERN_FORMAT(name, id, block, bytes) set_one_general<DType::name, kFormatOps_##name>(table);
#include <tern/formats.def>
#undef TERN_FORMAT
}

}  // namespace tern::kernels
