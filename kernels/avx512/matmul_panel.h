// Products of many tokens: a panel of 16 rows x 256 elements is unpacked once into the first-level cache, then
// multiplied with every token of the call. Four panels side by side share each broadcast of activations. A tile of 64
// rows x 4 tokens has 16 chains of dot products in registers: fewer do not cover their latency (12 reach 90 % of the
// peak, 16 all of it), more leave no registers for weights. Sums over groups go through memory instead.
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
inline constexpr size_t kPanelVectors = 4;     // panels of a tile, at most
inline constexpr size_t kPanelRows = kPanelVectors * kLanes;
inline constexpr size_t kTokenBlock = 512;     // tokens whose sums are kept at once
inline constexpr size_t kStreamedTokens = 32;  // up to here a product waits for memory

// How the sums of the groups of a superblock meet their scales. The definition wants one exact integer; each of these
// gives it.
enum class Scaling {
    integer,   // dot * scale and the sum in int32
    halves,    // in f32, four groups at a time: such a sum stays below 2^24 and so is exact (Q4_K: 4 * 63 * 15 * 127 * 32)
    applied,   // the panel's bytes are q * scale + bias already (Q2_K, Q3_K)
};

// The sum of all 256 activations.
TERN_INLINE int32_t total(const ActTail256& k) {
    int32_t sum = 0;
    for (int j = 0; j < 8; ++j) sum += k.sum32[j];
    return sum;
}

// Starts of the sums of each group: -bias * sum(activations), what the bias of the panel's bytes adds.
template <int kTokens, int kGroups>
TERN_INLINE void bias_starts(const ActBlock* a, int bias, int32_t (*start)[16]) {
    const __m512i factor = _mm512_set1_epi32(-bias);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m256i sums = kGroups == 16 ? load32(a[t].k.sum16) : _mm256_castsi128_si256(load16(a[t].k.sum32));
        _mm512_store_si512(start[t], _mm512_mullo_epi32(_mm512_cvtepi16_epi32(sums), factor));
    }
}

// dot[v][t] += the products of steps [from, to) of four elements.
template <int kVectors, int kTokens>
TERN_INLINE void multiply_steps(const Panel* p, const ActBlock* a, int from, int steps,
                                __m512i (&dot)[kVectors][kTokens]) {
    TERN_UNROLL
    for (int g = 0; g < steps; ++g) {
        __m512i w[kVectors];
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) w[v] = _mm512_load_si512(p[v].q[from + g]);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m512i b = broadcast4(a[t].q + (from + g) * 4);
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) dot[v][t] = _mm512_dpbusd_epi32(dot[v][t], w[v], b);
        }
    }
}

// c = fma(da, u, c) with u = d * S, or fma(d, S, -(dmin * M)); c is [token][kPanelRows].
template <int kVectors, int kTokens, int kGroups, bool kMin>
TERN_INLINE void add_superblock(const Panel* p, const ActBlock* a, float* c, const __m512 (&sum)[kVectors][kTokens]) {
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512 da = _mm512_set1_ps(a[t].k.d);
        TERN_UNROLL
        for (int v = 0; v < kVectors; ++v) {
            const __m512 d = _mm512_load_ps(p[v].d[0]);
            __m512 u;
            if constexpr (kMin) {
                const int16_t* sums = kGroups == 16 ? a[t].k.sum16 : a[t].k.sum32;
                __m512i m = _mm512_setzero_si512();
                TERN_UNROLL
                for (int j = 0; j < kGroups / 2; ++j)
                    m = _mm512_dpwssd_epi32(m, _mm512_load_si512(p[v].min[j]), broadcast4(sums + 2 * j));
                const __m512 offset = _mm512_mul_ps(_mm512_load_ps(p[v].dmin[0]), _mm512_cvtepi32_ps(m));
                u = _mm512_fmsub_ps(d, sum[v][t], offset);
            } else {
                u = _mm512_mul_ps(d, sum[v][t]);
            }
            float* out = c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kLanes);
            _mm512_store_ps(out, _mm512_fmadd_ps(da, u, _mm512_load_ps(out)));
        }
    }
}

// One superblock of kVectors panels times kTokens tokens, added to c[token * kPanelRows + row].
template <int kVectors, int kTokens, int kGroups, bool kMin, bool kBiased, Scaling kScaling>
TERN_INLINE void tile_256(const Panel* p, const ActBlock* a, float* c, int bias) {
    constexpr int kSteps = 64 / kGroups;  // vectors of four elements in a group
    __m512 sum[kVectors][kTokens];
    if constexpr (kScaling == Scaling::applied) {
        __m512i dot[kVectors][kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m512i first = kBiased ? _mm512_set1_epi32(-bias * total(a[t].k)) : _mm512_setzero_si512();
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) dot[v][t] = first;
        }
        TERN_NO_UNROLL
        for (int j = 0; j < 8; ++j) multiply_steps(p, a, j * 8, 8, dot);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[v][t] = _mm512_cvtepi32_ps(dot[v][t]);
    } else if constexpr (kScaling == Scaling::halves) {
        static_assert(kGroups == 8 && !kBiased);
        TERN_UNROLL
        for (int half = 0; half < 2; ++half) {
            alignas(64) float s[kVectors][kTokens][16];
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t)
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v) _mm512_store_ps(s[v][t], _mm512_setzero_ps());
            // Not unrolled: the body fills the micro-op cache as it is.
            TERN_NO_UNROLL
            for (int j = 4 * half; j < 4 * half + 4; ++j) {
                __m512i dot[kVectors][kTokens];
                TERN_UNROLL
                for (int t = 0; t < kTokens; ++t)
                    TERN_UNROLL
                    for (int v = 0; v < kVectors; ++v) dot[v][t] = _mm512_setzero_si512();
                multiply_steps(p, a, j * kSteps, kSteps, dot);
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v) {
                    const __m512 scale = _mm512_cvtepi32_ps(_mm512_load_si512(p[v].scale[j]));
                    TERN_UNROLL
                    for (int t = 0; t < kTokens; ++t)
                        _mm512_store_ps(s[v][t], _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[v][t]), scale,
                                                                 _mm512_load_ps(s[v][t])));
                }
            }
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t)
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v)
                    // The sum of two exact halves, rounded once.
                    sum[v][t] = half == 0 ? _mm512_load_ps(s[v][t])
                                          : _mm512_add_ps(sum[v][t], _mm512_load_ps(s[v][t]));
        }
    } else {
        alignas(64) int32_t start[kTokens][16];
        if constexpr (kBiased) bias_starts<kTokens, kGroups>(a, bias, start);
        alignas(64) int32_t s[kVectors][kTokens][16];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) _mm512_store_si512(s[v][t], _mm512_setzero_si512());
        TERN_NO_UNROLL
        for (int j = 0; j < kGroups; ++j) {
            __m512i dot[kVectors][kTokens];
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m512i first = kBiased ? _mm512_set1_epi32(start[t][j]) : _mm512_setzero_si512();
                TERN_UNROLL
                for (int v = 0; v < kVectors; ++v) dot[v][t] = first;
            }
            multiply_steps(p, a, j * kSteps, kSteps, dot);
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) {
                const __m512i scale = _mm512_load_si512(p[v].scale[j]);
                TERN_UNROLL
                for (int t = 0; t < kTokens; ++t)
                    _mm512_store_si512(s[v][t], _mm512_add_epi32(_mm512_load_si512(s[v][t]),
                                                                 _mm512_mullo_epi32(dot[v][t], scale)));
            }
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[v][t] = _mm512_cvtepi32_ps(_mm512_load_si512(s[v][t]));
    }
    add_superblock<kVectors, kTokens, kGroups, kMin>(p, a, c, sum);
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
                float* out = c + t * static_cast<int>(kPanelRows) + v * static_cast<int>(kLanes);
                __m512 f = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[v][t]), _mm512_load_ps(out));
                if constexpr (kMin) {
                    const __m512 offset = _mm512_mul_ps(_mm512_load_ps(p[v].dmin[j]), da);
                    f = _mm512_fnmadd_ps(offset, _mm512_set1_ps(sums[t][j]), f);
                }
                _mm512_store_ps(out, f);
            }
        }
    }
}

// The kernels of one kind of format, by panels (1, 2, 4) and tokens (1, 2, 4).
using Tile = void (*)(const Panel*, const ActBlock*, float* c, int bias, size_t blocks);
struct TileSet {
    Tile tile[3][3];
};
extern const TileSet kTiles256Halves;   // eight groups with minimums, small sums: Q4_K
extern const TileSet kTiles256Min8;     // eight groups with minimums: Q5_K
extern const TileSet kTiles256Applied16Min;  // scales applied, minimums of sixteen groups: Q2_K
extern const TileSet kTiles256Bias8;    // eight groups, biased: IQ4_XS, IQ2_XXS …
extern const TileSet kTiles256Bias16;   // sixteen groups, biased: Q6_K, IQ2_XS …
extern const TileSet kTiles256AppliedBias;  // scales applied, biased: Q3_K
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
