#include "kernels/avx2/matmul_panel.h"

namespace tern::kernels::avx2 {
namespace {

constexpr int kVectors = kPanelVectors;

// int16 sums of two products: u * b, or |w| * sign(b, w).
template <bool kSigned>
TERN_INLINE __m256i products(__m256i w, __m256i b) {
    if constexpr (kSigned) return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(b, w));
    return _mm256_maddubs_epi16(w, b);
}

// `kSteps` steps of four elements from step `first` on, kFlush of them at a time summed in 16 bits and then widened by
// a multiplication with the scale.
template <int kTokens, int kSteps, int kFlush, bool kSigned>
TERN_INLINE void accumulate(const Panel* p, const ActBlock* a, int first, const __m256i scale[kVectors],
                            __m256i sum[kVectors][kTokens]) {
    TERN_UNROLL
    for (int g = 0; g < kSteps; g += kFlush) {
        __m256i narrow[kVectors][kTokens];
        TERN_UNROLL
        for (int f = 0; f < kFlush; ++f) {
            const int step = first + g + f;
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m256i b = broadcast4(a[t].q + step * 4);
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v) {
                    const __m256i x = products<kSigned>(load32(p[v].q[step]), b);
                    narrow[v][t] = f ? _mm256_add_epi16(narrow[v][t], x) : x;
                }
            }
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v)
                sum[v][t] = _mm256_add_epi32(sum[v][t], _mm256_madd_epi16(narrow[v][t], scale[v]));
    }
}

// sum over pairs of groups of values * sums of activations
TERN_INLINE __m256i dot_pairs(const int16_t (*pairs)[16], const int16_t* sums) {
    __m256i m = _mm256_setzero_si256();
    TERN_UNROLL
    for (int j = 0; j < 8; ++j)
        m = _mm256_add_epi32(m, _mm256_madd_epi16(load32(pairs[j]), broadcast4(sums + 2 * j)));
    return m;
}

template <int kTokens, int kGroups, int kFlush, bool kMin, bool kBiased, bool kSigned>
void tile_256(const Panel* p, const ActBlock* a, float* c, int bias, size_t) {
    __m256i sum[kVectors][kTokens];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[v][t] = _mm256_setzero_si256();
    TERN_NO_UNROLL
    for (int j = 0; j < kGroups; ++j) {
        __m256i scale[kVectors];
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) scale[v] = load32(p[v].scale[j * (16 / kGroups)]);
        accumulate<kTokens, 64 / kGroups, kFlush, kSigned>(p, a, j * (64 / kGroups), scale, sum);
    }
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            __m256i s = sum[v][t];
            if constexpr (kBiased) {
                const __m256i offset = dot_pairs(p[v].scale_pair, a[t].k.sum16);
                s = _mm256_sub_epi32(s, _mm256_mullo_epi32(offset, _mm256_set1_epi32(bias)));
            }
            const __m256 d = _mm256_load_ps(p[v].d[0]);
            __m256 u;
            if constexpr (kMin) {
                const __m256i m = dot_pairs(p[v].min_pair, a[t].k.sum16);
                const __m256 offset = _mm256_mul_ps(_mm256_load_ps(p[v].dmin[0]), _mm256_cvtepi32_ps(m));
                u = _mm256_fmsub_ps(d, _mm256_cvtepi32_ps(s), offset);
            } else {
                u = _mm256_mul_ps(d, _mm256_cvtepi32_ps(s));
            }
            float* out = c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kVectorRows);
            _mm256_store_ps(out, _mm256_fmadd_ps(_mm256_set1_ps(a[t].k.d), u, _mm256_load_ps(out)));
        }
}

template <int kTokens, int kFlush, bool kMin, bool kSigned>
void tile_32(const Panel* p, const ActBlock* a, float* c, int bias, size_t blocks) {
    const __m256i ones[kVectors] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
    TERN_NO_UNROLL
    for (size_t j = 0; j < blocks; ++j) {
        __m256i sum[kVectors][kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[v][t] = _mm256_set1_epi32(-bias * a[t].b.sum[j]);
        accumulate<kTokens, 8, kFlush, kSigned>(p, a, static_cast<int>(8 * j), ones, sum);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m256 da = _mm256_set1_ps(a[t].b.d[j]);
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
                float* out = c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kVectorRows);
                const __m256 scale = _mm256_mul_ps(_mm256_load_ps(p[v].d[j]), da);
                __m256 f = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(sum[v][t]), _mm256_load_ps(out));
                if constexpr (kMin) {
                    const __m256 offset = _mm256_mul_ps(_mm256_load_ps(p[v].dmin[j]), da);
                    f = _mm256_fnmadd_ps(offset, _mm256_set1_ps(static_cast<float>(a[t].b.sum[j])), f);
                }
                _mm256_store_ps(out, f);
            }
        }
    }
}

template <int kGroups, int kFlush, bool kMin, bool kBiased, bool kSigned>
constexpr TileSet set_256() {
    return {{tile_256<1, kGroups, kFlush, kMin, kBiased, kSigned>,
             tile_256<2, kGroups, kFlush, kMin, kBiased, kSigned>}};
}
template <int kFlush, bool kMin, bool kSigned>
constexpr TileSet set_32() {
    return {{tile_32<1, kFlush, kMin, kSigned>, tile_32<2, kFlush, kMin, kSigned>}};
}

}  // namespace

constexpr TileSet kTiles256Min8 = set_256<8, 8, true, false, false>();
constexpr TileSet kTiles256Min4 = set_256<16, 4, true, false, false>();
constexpr TileSet kTiles256Bias4 = set_256<16, 4, false, true, false>();
constexpr TileSet kTiles256Bias2 = set_256<16, 2, false, true, false>();
constexpr TileSet kTiles256Bias1 = set_256<16, 1, false, true, false>();
constexpr TileSet kTiles256Signed = set_256<16, 1, false, false, true>();
constexpr TileSet kTiles32Bias8 = set_32<8, false, false>();
constexpr TileSet kTiles32Bias4 = set_32<4, false, false>();
constexpr TileSet kTiles32Min8 = set_32<8, true, false>();
constexpr TileSet kTiles32Min4 = set_32<4, true, false>();
constexpr TileSet kTiles32Signed = set_32<1, false, true>();

}  // namespace tern::kernels::avx2
