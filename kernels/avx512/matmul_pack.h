// Formats with a packer of their own, and values that packers and single-token kernels share.
#pragma once

#include "kernels/avx512/matmul_panel.h"

namespace tern::kernels::avx512 {

extern const PanelFormat kPanelQ4_0, kPanelQ4_1, kPanelQ5_0, kPanelQ5_1, kPanelQ8_0, kPanelIQ4_NL, kPanelMXFP4,
    kPanelQ2_K, kPanelQ3_K, kPanelQ4_K, kPanelQ5_K, kPanelQ6_K, kPanelIQ4_XS;
// matmul_iq.cpp
extern const PanelFormat kPanelIQ1_S, kPanelIQ1_M, kPanelIQ2_XXS, kPanelIQ2_XS, kPanelIQ2_S, kPanelIQ3_XXS,
    kPanelIQ3_S, kPanelTQ1_0, kPanelTQ2_0, kPanelQ8_K;

TERN_INLINE __m512 negate(__m512 v) { return _mm512_xor_ps(v, _mm512_set1_ps(-0.0f)); }

// The values of IQ4_NL and IQ4_XS (kernels/formats/iq4_nl.h) plus 128.
TERN_INLINE __m512i iq4_table() {
    return _mm512_broadcast_i32x4(_mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129),
                                                static_cast<char>(141), static_cast<char>(153),
                                                static_cast<char>(166), static_cast<char>(181),
                                                static_cast<char>(197), static_cast<char>(217),
                                                static_cast<char>(241)));
}

// Twice the values of E2M1 plus 12.
TERN_INLINE __m512i e2m1_table() {
    return _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
}

// 2^(e - 128), half of the E8M0 scale, because the values are doubled: subnormal for e < 2; NaN for e = 255.
TERN_INLINE __m512 e8m0_half(__m512i e) {
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    __m512i v = _mm512_mask_mov_epi32(normal, _mm512_cmplt_epu32_mask(e, _mm512_set1_epi32(2)), subnormal);
    v = _mm512_mask_mov_epi32(v, _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255)), _mm512_set1_epi32(0x7fc00000));
    return _mm512_castsi512_ps(v);
}

}  // namespace tern::kernels::avx512
