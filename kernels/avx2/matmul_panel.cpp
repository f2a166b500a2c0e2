#include "kernels/avx2/matmul_panel.h"

namespace tern::kernels::avx2 {
namespace {

// Dword i of row r to dword r of out[i].
TERN_INLINE void transpose8(const __m256i v[8], __m256i out[8]) {
    __m256i a[8], b[8];
    TERN_UNROLL
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
    TERN_UNROLL
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    TERN_UNROLL
    for (int i = 0; i < 4; ++i) {
        out[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        out[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}

template <class T>
TERN_INLINE void load_rows(const Row* rows, const T* first, __m256i v[8]) {
    const size_t offset = static_cast<size_t>(reinterpret_cast<const uint8_t*>(first) -
                                              reinterpret_cast<const uint8_t*>(rows));
    TERN_UNROLL
    for (size_t r = 0; r < kVectorRows; ++r) v[r] = load32(reinterpret_cast<const uint8_t*>(rows + r) + offset);
}

void transpose_panel(const RowFormat& format, const Row* rows, size_t blocks, Panel& out) {
    __m256i v[8], t[8];
    const size_t chunks = format.block == kSuper ? 8 : blocks;
    for (size_t c = 0; c < chunks; ++c) {
        load_rows(rows, rows->q + 32 * c, v);
        transpose8(v, t);
        TERN_UNROLL
        for (size_t i = 0; i < 8; ++i) store32(out.q[8 * c + i], t[i]);
    }
    if (format.block == kSuper) {
        load_rows(rows, rows->scale, v);
        transpose8(v, t);
        TERN_UNROLL
        for (size_t i = 0; i < 8; ++i) {
            const __m256i low = _mm256_and_si256(t[i], _mm256_set1_epi32(0xffff));
            const __m256i high = _mm256_andnot_si256(_mm256_set1_epi32(0xffff), t[i]);
            store32(out.scale_pair[i], t[i]);
            store32(out.scale[2 * i], _mm256_or_si256(low, _mm256_slli_epi32(low, 16)));
            store32(out.scale[2 * i + 1], _mm256_or_si256(high, _mm256_srli_epi32(high, 16)));
        }
        if (format.has_min) {
            load_rows(rows, rows->min, v);
            transpose8(v, t);
            TERN_UNROLL
            for (size_t i = 0; i < 8; ++i) store32(out.min_pair[i], t[i]);
        }
    }
    load_rows(rows, rows->d, v);
    transpose8(v, t);
    for (size_t i = 0; i < 8; ++i) store32(out.d[i], t[i]);
    if (format.has_min) {
        load_rows(rows, rows->dmin, v);
        transpose8(v, t);
        for (size_t i = 0; i < 8; ++i) store32(out.dmin[i], t[i]);
    }
}

TERN_INLINE void prefetch_lines(const uint8_t* p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

TERN_INLINE int32_t sum_lanes(__m256i v) {
    __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}

TERN_INLINE float fused(float a, float b, float c) {
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

TERN_INLINE __m256i products(bool is_signed, __m256i w, __m256i b) {
    return is_signed ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(b, w)) : _mm256_maddubs_epi16(w, b);
}

TERN_INLINE float dot_256(const RowFormat& format, bool is_signed, const Row& row, const ActBlock& a, float acc) {
    __m256i sum = _mm256_setzero_si256();
    TERN_UNROLL
    for (int v = 0; v < 8; ++v) {
        const __m256i scale = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16(row.scale[2 * v])),
                                                      _mm_set1_epi16(row.scale[2 * v + 1]), 1);
        const __m256i x = products(is_signed, load32(row.q + 32 * v), load32(a.q + 32 * v));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, scale));
    }
    const __m256i sums = load32(a.k.sum16);
    if (format.bias != 0) {
        const __m256i offset = _mm256_madd_epi16(load32(row.scale), sums);
        sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(offset, _mm256_set1_epi32(format.bias)));
    }
    const float s = static_cast<float>(sum_lanes(sum));
    float u = row.d[0] * s;
    if (format.has_min) {
        const float m = static_cast<float>(sum_lanes(_mm256_madd_epi16(load32(row.min), sums)));
        u = fused(row.d[0], s, -(row.dmin[0] * m));
    }
    return fused(a.k.d, u, acc);
}

TERN_INLINE float dot_32(const RowFormat& format, bool is_signed, const Row& row, const ActBlock& a, size_t blocks,
                         float acc) {
    for (size_t j = 0; j < blocks; ++j) {
        const __m256i x = products(is_signed, load32(row.q + 32 * j), load32(a.q + 32 * j));
        const int32_t dot = sum_lanes(_mm256_madd_epi16(x, _mm256_set1_epi16(1)));
        const int32_t s = dot - format.bias * a.b.sum[j];
        acc = fused(row.d[j] * a.b.d[j], static_cast<float>(s), acc);
        if (format.has_min) acc = fused(-(row.dmin[j] * a.b.d[j]), static_cast<float>(a.b.sum[j]), acc);
    }
    return acc;
}

}  // namespace

size_t panel_scratch_bytes(size_t tokens) {
    return sizeof(Panel) * kPanelVectors + min_size(tokens, kTokenBlock) * kPanelRows * sizeof(float);
}

void run_panels(const RowFormat& format, const TileSet& tiles, const FormatOps& ops, const MatmulArgs& args) {
    Panel* panels = static_cast<Panel*>(args.scratch);
    float* sums = reinterpret_cast<float*>(panels + kPanelVectors);
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const size_t total_blocks = args.k / format.block;
    const size_t per_super = kSuper / format.block;
    const size_t supers = (total_blocks + per_super - 1) / per_super;
    Row unpacked[kVectorRows];
    memset(unpacked, 0, sizeof unpacked);
    for (size_t t0 = 0; t0 < args.tokens; t0 += kTokenBlock) {
        const size_t tokens = min_size(args.tokens - t0, kTokenBlock);
        const ActBlock* act = static_cast<const ActBlock*>(args.act) + t0;
        for (size_t row = 0; row < args.rows; row += kPanelRows) {
            const size_t rows = min_size(args.rows - row, kPanelRows);
            memset(sums, 0, tokens * kPanelRows * sizeof(float));
            for (size_t s = 0; s < supers; ++s) {
                const size_t blocks = min_size(per_super, total_blocks - s * per_super);
                const size_t offset = s * per_super * format.block_bytes;
                for (size_t v = 0; v < kPanelVectors; ++v) {
                    // Rows after the last one keep what stands there: their sums are not stored.
                    for (size_t r = 0; r < kVectorRows && v * kVectorRows + r < rows; ++r)
                        format.unpack(w + (row + v * kVectorRows + r) * args.w_row_bytes + offset, blocks, ops,
                                      unpacked[r]);
                    transpose_panel(format, unpacked, blocks, panels[v]);
                }
                // Few tokens: the weights come from memory at full speed only if they are fetched in file order.
                if (tokens <= 32)
                    prefetch_lines(w + (row + rows) * args.w_row_bytes + offset * rows,
                                   blocks * format.block_bytes * rows);
                const ActBlock* a = act + s * args.act_stride;
                size_t t = 0;
                for (; t + 2 <= tokens; t += 2)
                    tiles.tile[1](panels, a + t, sums + t * kPanelRows, format.bias, blocks);
                if (t < tokens) tiles.tile[0](panels, a + t, sums + t * kPanelRows, format.bias, blocks);
            }
            for (size_t t = 0; t < tokens; ++t)
                memcpy(args.out + (t0 + t) * args.out_stride + row, sums + t * kPanelRows, rows * sizeof(float));
        }
    }
}

void run_single(const RowFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const ActBlock* act = static_cast<const ActBlock*>(args.act);
    const size_t total_blocks = args.k / format.block;
    const size_t per_super = kSuper / format.block;
    const size_t super_bytes = per_super * format.block_bytes;
    constexpr size_t kPrefetchDistance = 4096;
    Row unpacked;
    for (size_t row = 0; row < args.rows; ++row) {
        const uint8_t* p = w + row * args.w_row_bytes;
        float acc = 0.0f;
        for (size_t b = 0, s = 0; b < total_blocks; b += per_super, ++s, p += super_bytes) {
            const size_t blocks = min_size(per_super, total_blocks - b);
            prefetch_lines(p + kPrefetchDistance, super_bytes);
            format.unpack(p, blocks, ops, unpacked);
            const ActBlock& a = act[s * args.act_stride];
            if (format.block != kSuper)
                acc = format.is_signed ? dot_32(format, true, unpacked, a, blocks, acc)
                                       : dot_32(format, false, unpacked, a, blocks, acc);
            else
                acc = format.is_signed ? dot_256(format, true, unpacked, a, acc)
                                       : dot_256(format, false, unpacked, a, acc);
        }
        args.out[row] = acc;
    }
}

}  // namespace tern::kernels::avx2
