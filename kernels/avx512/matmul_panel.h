// Products of many tokens: a panel of 16 rows x 256 elements is unpacked once into the first-level cache, then
// multiplied with every token of the call. Three panels side by side share each broadcast of activations: a tile of
// 48 rows x 4 tokens keeps the sums in registers and both multipliers busy.
#pragma once

#include "kernels/avx512/matmul_common.h"

namespace tern::kernels::avx512 {

// A panel holds q + bias as unsigned bytes, bias being the format's; the kernel takes bias * sum(activations) off.
struct alignas(64) Panel {
    uint8_t q[64][64];      // [k / 4][row * 4 + k % 4]
    int32_t scale[16][16];  // [group][row]; groups of 16 or 32 elements, as the format has them
    int16_t min[8][32];     // [group / 2][row * 2 + group % 2]
    float d[8][16];         // [block][row]; formats of 256 elements use the first one only
    float dmin[8][16];      // likewise
};

inline constexpr size_t kPanelTokens = 4;      // tokens of a tile
inline constexpr size_t kPanelVectors = 3;     // panels of a tile
inline constexpr size_t kPanelRows = kPanelVectors * kLanes;
inline constexpr size_t kTokenBlock = 512;     // tokens whose sums are kept at once

// One superblock of kVectors panels times kTokens tokens, added to c[token * kPanelRows + row].
// Formats of 256 elements: S = sum over groups of scale * sum(q * a) in int32, M likewise with the minimums, then
// u = d * S or fma(d, S, -(dmin * M)), and c = fma(da, u, c).
template <int kVectors, int kTokens, int kGroups, bool kMin, bool kBiased>
TERN_INLINE void tile_256(const Panel* p, const ActBlock* a, float* c, int bias) {
    constexpr int kSteps = 64 / kGroups;  // vectors of four elements in a group
    alignas(64) int32_t start[kTokens][16];
    if constexpr (kBiased) {
        const __m512i factor = _mm512_set1_epi32(-bias);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m256i sums = kGroups == 16 ? load32(a[t].k.sum16)
                                               : _mm256_castsi128_si256(load16(a[t].k.sum32));
            _mm512_store_si512(start[t], _mm512_mullo_epi32(_mm512_cvtepi16_epi32(sums), factor));
        }
    }
    __m512i s[kVectors][kTokens];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) s[v][t] = _mm512_setzero_si512();
    // Not unrolled: the body fills the micro-op cache as it is.
    TERN_NO_UNROLL
    for (int j = 0; j < kGroups; ++j) {
        __m512i dot[kVectors][kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m512i first = kBiased ? _mm512_set1_epi32(start[t][j]) : _mm512_setzero_si512();
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) dot[v][t] = first;
        }
        TERN_UNROLL
        for (int g = 0; g < kSteps; ++g) {
            __m512i w[kVectors];
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) w[v] = _mm512_load_si512(p[v].q[j * kSteps + g]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m512i b = broadcast4(a[t].q + (j * kSteps + g) * 4);
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v) dot[v][t] = _mm512_dpbusd_epi32(dot[v][t], w[v], b);
            }
        }
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            const __m512i scale = _mm512_load_si512(p[v].scale[j]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t)
                s[v][t] = _mm512_add_epi32(s[v][t], _mm512_mullo_epi32(dot[v][t], scale));
        }
    }
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512 da = _mm512_set1_ps(a[t].k.d);
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            const __m512 d = _mm512_load_ps(p[v].d[0]);
            const __m512 sum = _mm512_cvtepi32_ps(s[v][t]);
            __m512 u;
            if constexpr (kMin) {
                const int16_t* sums = kGroups == 16 ? a[t].k.sum16 : a[t].k.sum32;
                __m512i m = _mm512_setzero_si512();
                TERN_UNROLL
                for (int j = 0; j < kGroups / 2; ++j)
                    m = _mm512_dpwssd_epi32(m, _mm512_load_si512(p[v].min[j]), broadcast4(sums + 2 * j));
                const __m512 offset = _mm512_mul_ps(_mm512_load_ps(p[v].dmin[0]), _mm512_cvtepi32_ps(m));
                u = _mm512_fmsub_ps(d, sum, offset);
            } else {
                u = _mm512_mul_ps(d, sum);
            }
            float* out = c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kLanes);
            _mm512_store_ps(out, _mm512_fmadd_ps(da, u, _mm512_load_ps(out)));
        }
    }
}

// Formats of 32 elements, `blocks` of them: c = fma(d * da, S, c) and, with minimums (dmin holds -minimum, the offset
// of value = d * q + minimum), c = fma(-(dmin * da), sum(a), c), block after block.
template <int kVectors, int kTokens, bool kMin>
TERN_INLINE void tile_32(const Panel* p, const ActBlock* a, float* c, int bias, size_t blocks) {
    alignas(32) int32_t start[kTokens][8];
    alignas(32) float sums[kTokens][8];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m256i sum = _mm256_cvtepi16_epi32(load16(a[t].b.sum));
        _mm256_store_si256(reinterpret_cast<__m256i*>(start[t]), _mm256_mullo_epi32(sum, _mm256_set1_epi32(-bias)));
        if constexpr (kMin) _mm256_store_ps(sums[t], _mm256_cvtepi32_ps(sum));
    }
    __m512 f[kVectors][kTokens];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v)
            f[v][t] = _mm512_load_ps(c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kLanes));
    TERN_NO_UNROLL
    for (size_t j = 0; j < blocks; ++j) {
        __m512i dot[kVectors][kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) dot[v][t] = _mm512_set1_epi32(start[t][j]);
        TERN_UNROLL
        for (size_t g = 0; g < 8; ++g) {
            __m512i w[kVectors];
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) w[v] = _mm512_load_si512(p[v].q[j * 8 + g]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m512i b = broadcast4(a[t].q + (j * 8 + g) * 4);
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v) dot[v][t] = _mm512_dpbusd_epi32(dot[v][t], w[v], b);
            }
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m512 da = _mm512_set1_ps(a[t].b.d[j]);
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
                const __m512 scale = _mm512_mul_ps(_mm512_load_ps(p[v].d[j]), da);
                f[v][t] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[v][t]), f[v][t]);
                if constexpr (kMin) {
                    const __m512 offset = _mm512_mul_ps(_mm512_load_ps(p[v].dmin[j]), da);
                    f[v][t] = _mm512_fnmadd_ps(offset, _mm512_set1_ps(sums[t][j]), f[v][t]);
                }
            }
        }
    }
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v)
            _mm512_store_ps(c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kLanes), f[v][t]);
}

// The kernels of one kind of format; [0]: one panel, [1]: kPanelVectors of them; then tokens: 1, 2, 4.
using Tile = void (*)(const Panel*, const ActBlock*, float* c, int bias, size_t blocks);
struct TileSet {
    Tile tile[2][3];
};
extern const TileSet kTiles256Min8;     // eight groups with minimums: Q4_K, Q5_K
extern const TileSet kTiles256Min16;    // sixteen groups with minimums: Q2_K
extern const TileSet kTiles256Bias8;    // eight groups, biased: IQ4_XS, IQ2_XXS
extern const TileSet kTiles256Bias16;   // sixteen groups, biased: Q6_K, Q3_K, IQ2_XS
extern const TileSet kTiles32;
extern const TileSet kTiles32Min;

// What the panel driver must know about a format.
struct PanelFormat {
    size_t block, block_bytes;
    int bias;
    const TileSet* tiles;
    // 16 rows `stride` bytes apart, from `p`: `blocks` blocks of a format of 32 elements, one of a format of 256.
    void (*pack)(const uint8_t* p, size_t stride, size_t blocks, const FormatOps& ops, Panel& out);
};

// run() and scratch_bytes() of every format, for any number of tokens.
void run_panels(const PanelFormat& format, const FormatOps& ops, const MatmulArgs& args);
size_t panel_scratch_bytes(size_t tokens);

}  // namespace tern::kernels::avx512
