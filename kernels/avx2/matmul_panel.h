// Products of several tokens: 16 rows x 256 elements are unpacked and transposed into the first-level cache, then
// multiplied with every token of the call, eight rows to a vector.
#pragma once

#include "kernels/avx2/matmul_rows.h"

namespace tern::kernels {

static constexpr int kVectorRows = 8;
static constexpr int kPanelVectors = 2;
static constexpr int kPanelRows = kPanelVectors * kVectorRows;
static constexpr size_t kTokenBlock = 512;  // tokens whose sums are kept at once

// What the arithmetic of a format depends on. A superblock is one block of 256 elements or eight of 32.
struct PanelKind {
    int block;
    int groups;        // with a scale of their own: 8 or 16; blocks of 32: 8
    int narrow;        // steps of four elements whose products may be added in int16; 1 where q is signed
    int bias;          // of the unsigned quants
    bool has_min;
    bool is_signed;    // q is any int8
    // |products| of `narrow` steps + |bias / 2 * sum of the activations| fit in int16, too.
    bool bias_fits = false;
};

// A signed q is held as |q| and a mask `flip` of its sign, which turns the activations: x ^ -1 = -x - 1, so
// sum |q| * (x ^ flip) + sum of the |q| < 0 = sum q * x. With wide partial sums it is simply biased.
static constexpr bool uses_flips(PanelKind k) { return k.is_signed && !kWidePartials; }
static constexpr int bias_of(PanelKind k) { return k.is_signed ? kSignedBias : k.bias; }
// Partial sums start from -bias * sum of the activations; else the sum does. In blocks of 32 it has kFloatBits, too.
static constexpr bool starts_partials(PanelKind k) {
    return k.block == 32 ? kWidePartials : bias_of(k) != 0 && (kWidePartials || k.bias_fits);
}
// The bits of 1.5 * 2^23: an integer n of less than 22 bits added to them gives the bits of 1.5 * 2^23 + n, so a
// subtraction, for which more ports are free, converts it.
static constexpr int32_t kFloatBits = 0x4b400000;
static constexpr float kFloatBase = 0x1.8p+23f;

struct alignas(32) Panel {
    uint8_t q[64][32];          // [k / 4][row * 4 + k % 4]
    uint8_t flip[64][32];       // likewise
    int32_t scale[16][8];       // [group][row], as add_scaled_partial wants it
    int16_t scale_pair[8][16];  // [group / 2][row * 2 + group % 2]
    int16_t min_pair[8][16];    // likewise
    int32_t start[8][8];        // [block][row]: the sum of |q| * scale where q < 0
    float d[8][8];              // [block][row]
    float dmin[8][8];
};

// ---- packing ---------------------------------------------------------------------------------------------------------

// The 32 bytes at `first`, a place of the first of eight Rows, and at the same place of the others, transposed: dword i of row r is dword r of
// out[i].
TERN_INLINE void load_rows(const void* first, __m256i out[8]) {
    const uint8_t* p = static_cast<const uint8_t*>(first);
    TERN_UNROLL
    for (size_t half = 0; half < 2; ++half) {
        __m256i z[4];
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i)
            z[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p + i * sizeof(Row) + 16 * half)),
                                           load16(p + (4 + i) * sizeof(Row) + 16 * half), 1);
        const __m256i a = _mm256_unpacklo_epi32(z[0], z[1]), b = _mm256_unpackhi_epi32(z[0], z[1]);
        const __m256i c = _mm256_unpacklo_epi32(z[2], z[3]), d = _mm256_unpackhi_epi32(z[2], z[3]);
        out[4 * half] = _mm256_unpacklo_epi64(a, c);
        out[4 * half + 1] = _mm256_unpackhi_epi64(a, c);
        out[4 * half + 2] = _mm256_unpacklo_epi64(b, d);
        out[4 * half + 3] = _mm256_unpackhi_epi64(b, d);
    }
}

template <PanelKind kKind>
static void pack(const Row* rows, size_t blocks, Panel& out) {
    __m256i t[8];
    if constexpr (kKind.block == 256) {
        load_rows(rows->scale, t);
        TERN_UNROLL
        for (int i = 0; i < 8; ++i) {
            if constexpr (kKind.groups == 16) {
                store32(out.scale[2 * i], scale_lanes(t[i]));
                store32(out.scale[2 * i + 1], scale_lanes(_mm256_srli_epi32(t[i], 16)));
            } else {
                store32(out.scale[i], scale_lanes(t[i]));
            }
            if constexpr (bias_of(kKind) != 0 && !starts_partials(kKind)) store32(out.scale_pair[i], t[i]);
        }
        if constexpr (kKind.has_min) {
            load_rows(rows->min, t);
            TERN_UNROLL
            for (int i = 0; i < kKind.groups / 2; ++i)
                store32(out.min_pair[i],
                        kKind.groups == 16 ? t[i] : _mm256_blend_epi16(t[2 * i % 8], t[(2 * i + 1) % 8], 0xaa));
        }
    }
    __m256i start = _mm256_setzero_si256();
    const int chunks = kKind.block == 256 ? 8 : static_cast<int>(blocks);
    TERN_NO_UNROLL
    for (int c = 0; c < chunks; ++c) {
        load_rows(rows->q + 32 * c, t);
        if constexpr (uses_flips(kKind)) {
            if constexpr (kKind.block == 32) start = _mm256_setzero_si256();
            TERN_UNROLL
            for (int half = 0; half < 2; ++half) {
                __m256i below = _mm256_setzero_si256();  // the |q| of negative q in int16
                TERN_UNROLL
                for (int i = 4 * half; i < 4 * half + 4; ++i) {
                    const __m256i flip = _mm256_cmpgt_epi8(_mm256_setzero_si256(), t[i]);
                    const __m256i magnitude = _mm256_abs_epi8(t[i]);
                    store32(out.flip[8 * c + i], flip);
                    store32(out.q[8 * c + i], magnitude);
                    below = _mm256_add_epi16(below, _mm256_maddubs_epi16(_mm256_and_si256(magnitude, flip), bytes(1)));
                }
                if constexpr (kKind.block == 32)
                    start = add_partial(start, below);
                else
                    start = add_scaled_partial(start, below,
                                               load32(out.scale[kKind.groups == 16 ? 2 * c + half : c]));
            }
            if constexpr (kKind.block == 32)
                store32(out.start[c], _mm256_add_epi32(start, _mm256_set1_epi32(kFloatBits)));
        } else {
            TERN_UNROLL
            for (int i = 0; i < 8; ++i)
                store32(out.q[8 * c + i], kKind.is_signed ? _mm256_xor_si256(t[i], bytes(0x80)) : t[i]);
        }
    }
    if constexpr (kKind.block == 256) {
        if constexpr (uses_flips(kKind)) store32(out.start[0], start);
        float* d = out.d[0];
        float* dmin = out.dmin[0];
        TERN_UNROLL
        for (int r = 0; r < kVectorRows; ++r) {
            d[r] = rows[r].d[0];
            if constexpr (kKind.has_min) dmin[r] = rows[r].dmin[0];
        }
    } else {
        load_rows(rows->d, t);
        TERN_UNROLL
        for (int i = 0; i < 8; ++i) store32(out.d[i], t[i]);
        if constexpr (kKind.has_min) {
            load_rows(rows->dmin, t);
            TERN_UNROLL
            for (int i = 0; i < 8; ++i) store32(out.dmin[i], t[i]);
        }
    }
}

// ---- tiles -----------------------------------------------------------------------------------------------------------

// Adds the products of one group of `kSteps` steps, times its scale, to the sums.
template <PanelKind kKind, int kTokens>
TERN_INLINE void add_group(const Panel* p, const ActBlock* a, int group, const int32_t (*starts)[16],
                           __m256i sum[kPanelVectors][kTokens]) {
    constexpr int kSteps = 64 / kKind.groups;
    constexpr int kTurn = kWidePartials ? kSteps : kKind.narrow < kSteps ? kKind.narrow : kSteps;
    __m256i scale[kPanelVectors];
    if constexpr (!kWidePartials && kKind.block == 256) {
        TERN_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) scale[v] = load32(p[v].scale[group]);
    }
    TERN_UNROLL
    for (int g = 0; g < kSteps; g += kTurn) {
        __m256i partial[kPanelVectors][kTokens];
        if constexpr (starts_partials(kKind)) {
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m256i start = g == 0 ? _mm256_set1_epi32(starts[t][group]) : _mm256_setzero_si256();
                TERN_UNROLL
                for (int v = 0; v < kPanelVectors; ++v) partial[v][t] = start;
            }
        }
        TERN_UNROLL
        for (int f = 0; f < kTurn; ++f) {
            const int step = group * kSteps + g + f;
            __m256i w[kPanelVectors];
            TERN_UNROLL
            for (int v = 0; v < kPanelVectors; ++v) w[v] = load32(p[v].q[step]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m256i b = broadcast4(a[t].q + step * 4);
                TERN_UNROLL
                for (int v = 0; v < kPanelVectors; ++v) {
                    __m256i x = b;
                    if constexpr (uses_flips(kKind)) x = _mm256_xor_si256(b, load32(p[v].flip[step]));
                    partial[v][t] = f != 0 || starts_partials(kKind) ? partial_add(partial[v][t], w[v], x)
                                                                     : partial_first(w[v], x);
                }
            }
        }
        TERN_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) {
            if constexpr (kWidePartials && kKind.block == 256) scale[v] = load32(p[v].scale[group]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t)
                sum[v][t] = kKind.block == 256 ? add_scaled_partial(sum[v][t], partial[v][t], scale[v])
                                               : add_partial(sum[v][t], partial[v][t]);
        }
    }
}

// sum over pairs of groups of values * sums of activations
template <int kPairs>
TERN_INLINE __m256i dot_pairs(const int16_t (*pairs)[16], const int16_t* sums) {
    __m256i m = _mm256_setzero_si256();
    TERN_UNROLL
    for (int j = 0; j < kPairs; ++j) m = add_pairs(m, load32(pairs[j]), broadcast4(sums + 2 * j));
    return m;
}

template <PanelKind kKind, int kTokens>
static void tile_256(const Panel* p, const ActBlock* a, float* c, size_t) {
    alignas(32) int32_t starts[kTokens][16];
    if constexpr (starts_partials(kKind)) {
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            if constexpr (!kWidePartials) {  // half of it in either int16
                const __m256i half = _mm256_mullo_epi16(load32(a[t].k.sum16), _mm256_set1_epi16(-bias_of(kKind) / 2));
                const __m256i low = _mm256_unpacklo_epi16(half, half), high = _mm256_unpackhi_epi16(half, half);
                store32(starts[t], _mm256_permute2x128_si256(low, high, 0x20));
                store32(starts[t] + 8, _mm256_permute2x128_si256(low, high, 0x31));
            } else {
                const __m256i factor = _mm256_set1_epi32(-bias_of(kKind));
                if constexpr (kKind.groups == 16) {
                    store32(starts[t], _mm256_mullo_epi32(_mm256_cvtepi16_epi32(load16(a[t].k.sum16)), factor));
                    store32(starts[t] + 8, _mm256_mullo_epi32(_mm256_cvtepi16_epi32(load16(a[t].k.sum16 + 8)), factor));
                } else {
                    store32(starts[t], _mm256_mullo_epi32(_mm256_cvtepi16_epi32(load16(a[t].k.sum32)), factor));
                }
            }
        }
    }
    __m256i sum[kPanelVectors][kTokens];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kPanelVectors; ++v)
            sum[v][t] = uses_flips(kKind) ? load32(p[v].start[0]) : _mm256_setzero_si256();
    TERN_NO_UNROLL
    for (int j = 0; j < kKind.groups; ++j) add_group<kKind, kTokens>(p, a, j, starts, sum);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        TERN_UNROLL
        for (int v = 0; v < kPanelVectors; ++v) {
            __m256i s = sum[v][t];
            if constexpr (bias_of(kKind) != 0 && !starts_partials(kKind)) {
                const __m256i offset = dot_pairs<8>(p[v].scale_pair, a[t].k.sum16);
                s = _mm256_sub_epi32(s, _mm256_mullo_epi32(offset, _mm256_set1_epi32(bias_of(kKind))));
            }
            const __m256 d = _mm256_load_ps(p[v].d[0]);
            __m256 u;
            if constexpr (kKind.has_min) {
                const int16_t* sums = kKind.groups == 16 ? a[t].k.sum16 : a[t].k.sum32;
                const __m256i m = dot_pairs<kKind.groups / 2>(p[v].min_pair, sums);
                const __m256 offset = _mm256_mul_ps(_mm256_load_ps(p[v].dmin[0]), _mm256_cvtepi32_ps(m));
                u = _mm256_fmsub_ps(d, _mm256_cvtepi32_ps(s), offset);
            } else {
                u = _mm256_mul_ps(d, _mm256_cvtepi32_ps(s));
            }
            float* out = c + t * kPanelRows + v * kVectorRows;
            _mm256_store_ps(out, _mm256_fmadd_ps(_mm256_set1_ps(a[t].k.d), u, _mm256_load_ps(out)));
        }
}

template <PanelKind kKind, int kTokens>
static void tile_32(const Panel* p, const ActBlock* a, float* c, size_t blocks) {
    constexpr int kBias = bias_of(kKind);
    alignas(32) int32_t starts[kTokens][16];
    alignas(32) float sums[kTokens][8];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m256i s = _mm256_cvtepi16_epi32(load16(a[t].b.sum));
        store32(starts[t], _mm256_sub_epi32(_mm256_set1_epi32(kFloatBits), _mm256_mullo_epi32(s, _mm256_set1_epi32(kBias))));
        if constexpr (kKind.has_min) _mm256_store_ps(sums[t], _mm256_cvtepi32_ps(s));
    }
    TERN_NO_UNROLL
    for (int j = 0; j < static_cast<int>(blocks); ++j) {
        __m256i sum[kPanelVectors][kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            TERN_UNROLL
            for (int v = 0; v < kPanelVectors; ++v) {
                if constexpr (uses_flips(kKind))
                    sum[v][t] = load32(p[v].start[j]);
                else if constexpr (starts_partials(kKind))
                    sum[v][t] = _mm256_setzero_si256();
                else
                    sum[v][t] = _mm256_set1_epi32(starts[t][j]);
            }
        add_group<kKind, kTokens>(p, a, j, starts, sum);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m256 da = _mm256_set1_ps(a[t].b.d[j]);
            TERN_UNROLL
            for (int v = 0; v < kPanelVectors; ++v) {
                float* out = c + t * kPanelRows + v * kVectorRows;
                const __m256 scale = _mm256_mul_ps(_mm256_load_ps(p[v].d[j]), da);
                const __m256 s = _mm256_sub_ps(_mm256_castsi256_ps(sum[v][t]), _mm256_set1_ps(kFloatBase));
                __m256 f = _mm256_fmadd_ps(scale, s, _mm256_load_ps(out));
                if constexpr (kKind.has_min) {
                    const __m256 offset = _mm256_mul_ps(_mm256_load_ps(p[v].dmin[j]), da);
                    f = _mm256_fnmadd_ps(offset, _mm256_set1_ps(sums[t][j]), f);
                }
                _mm256_store_ps(out, f);
            }
        }
    }
}

template <PanelKind kKind, int kTokens>
TERN_INLINE void tile(const Panel* p, const ActBlock* a, float* c, size_t blocks) {
    if constexpr (kKind.block == 256)
        tile_256<kKind, kTokens>(p, a, c, blocks);
    else
        tile_32<kKind, kTokens>(p, a, c, blocks);
}

// One superblock of a panel times any number of tokens, added to c[token * kPanelRows + row].
template <PanelKind kKind>
TERN_INLINE void tiles(const Panel* p, const ActBlock* a, float* c, size_t blocks, size_t tokens) {
    size_t t = 0;
    const auto next = [&](size_t n) {
        a += n;
        c += n * kPanelRows;
        t += n;
    };
    while (tokens - t >= kTileTokens) {
        if (kTileTokens == 6 && tokens - t == 8) break;  // twice four
        tile<kKind, kTileTokens>(p, a, c, blocks);
        next(kTileTokens);
    }
    if constexpr (kTileTokens > 4)
        while (tokens - t >= 4) {
            tile<kKind, 4>(p, a, c, blocks);
            next(4);
        }
    if (tokens - t >= 2) {
        tile<kKind, 2>(p, a, c, blocks);
        next(2);
    }
    if (tokens != t) tile<kKind, 1>(p, a, c, blocks);
}

// ---- the whole product -----------------------------------------------------------------------------------------------

TERN_INLINE void prefetch_lines(const uint8_t* p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

TERN_INLINE size_t panel_scratch_bytes(size_t tokens) {
    return sizeof(Panel) * kPanelVectors + min_size(tokens, kTokenBlock) * kPanelRows * sizeof(float);
}

template <PanelKind kKind>
static void run_panels(const RowFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    Panel* panels = static_cast<Panel*>(args.scratch);
    float* sums = reinterpret_cast<float*>(panels + kPanelVectors);
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    constexpr size_t kPerSuper = kSuper / kKind.block;
    const size_t total_blocks = args.k / kKind.block;
    const size_t supers = (total_blocks + kPerSuper - 1) / kPerSuper;
    Row unpacked[kVectorRows];
    memset(unpacked, 0, sizeof unpacked);
    for (size_t t0 = 0; t0 < args.tokens; t0 += kTokenBlock) {
        const size_t tokens = min_size(args.tokens - t0, kTokenBlock);
        const ActBlock* act = static_cast<const ActBlock*>(args.act) + t0;
        for (size_t row = 0; row < args.rows; row += kPanelRows) {
            const size_t rows = min_size(args.rows - row, kPanelRows);
            memset(sums, 0, tokens * kPanelRows * sizeof(float));
            for (size_t s = 0; s < supers; ++s) {
                const size_t blocks = min_size(kPerSuper, total_blocks - s * kPerSuper);
                const size_t offset = s * kPerSuper * format.block_bytes;
                for (size_t v = 0; v < kPanelVectors; ++v) {
                    // Rows after the last one keep what stands there: their sums are not stored.
                    for (size_t r = 0; r < kVectorRows && v * kVectorRows + r < rows; ++r)
                        format.unpack(w + (row + v * kVectorRows + r) * args.w_row_bytes + offset, blocks, ops,
                                      unpacked[r]);
                    pack<kKind>(unpacked, blocks, panels[v]);
                }
                // Few tokens: the weights come from memory at full speed only if they are fetched in file order.
                if (tokens <= 32)
                    prefetch_lines(w + (row + rows) * args.w_row_bytes + offset * rows,
                                   blocks * format.block_bytes * rows);
                tiles<kKind>(panels, act + s * args.act_stride, sums, blocks, tokens);
            }
            for (size_t t = 0; t < tokens; ++t)
                memcpy(args.out + (t0 + t) * args.out_stride + row, sums + t * kPanelRows, rows * sizeof(float));
        }
    }
}

}  // namespace tern::kernels
