#include "kernels/neon/matmul_panel.h"

namespace tern::kernels::neon {
namespace {

// Word i of row r to word r of out[i].
TERN_INLINE void transpose4(const int32x4_t v[4], int32x4_t out[4]) {
    const int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(v[0], v[1]));
    const int64x2_t b = vreinterpretq_s64_s32(vtrn2q_s32(v[0], v[1]));
    const int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(v[2], v[3]));
    const int64x2_t d = vreinterpretq_s64_s32(vtrn2q_s32(v[2], v[3]));
    out[0] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
    out[1] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
    out[2] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
    out[3] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
}

// The same field of row r: `first` is that of the first row.
template <class T>
TERN_INLINE const T* of_row(const Row* rows, const T* first, size_t r) {
    const size_t offset = static_cast<size_t>(reinterpret_cast<const uint8_t*>(first) -
                                              reinterpret_cast<const uint8_t*>(rows));
    return static_cast<const T*>(static_cast<const void*>(reinterpret_cast<const uint8_t*>(rows + r) + offset));
}

// Eight int16 of each row to [group][row].
TERN_INLINE void transpose_groups(const Row* rows, const int16_t* first, int16_t* out) {
    int16x8_t v[4];
    TERN_UNROLL
    for (size_t r = 0; r < kTileRows; ++r) v[r] = vld1q_s16(of_row(rows, first, r));
    const int16x8_t even_low = vzip1q_s16(v[0], v[2]), odd_low = vzip1q_s16(v[1], v[3]);
    const int16x8_t even_high = vzip2q_s16(v[0], v[2]), odd_high = vzip2q_s16(v[1], v[3]);
    vst1q_s16(out, vzip1q_s16(even_low, odd_low));
    vst1q_s16(out + 8, vzip2q_s16(even_low, odd_low));
    vst1q_s16(out + 16, vzip1q_s16(even_high, odd_high));
    vst1q_s16(out + 24, vzip2q_s16(even_high, odd_high));
}

// Four floats of each row to [block][row].
TERN_INLINE void transpose_scales(const Row* rows, const float* first, float* out) {
    int32x4_t v[4], t[4];
    TERN_UNROLL
    for (size_t r = 0; r < kTileRows; ++r) v[r] = vreinterpretq_s32_f32(vld1q_f32(of_row(rows, first, r)));
    transpose4(v, t);
    TERN_UNROLL
    for (size_t i = 0; i < 4; ++i) vst1q_f32(out + 4 * i, vreinterpretq_f32_s32(t[i]));
}

void transpose_strip(const PanelFormat& format, const Row rows[kTileRows], size_t blocks, Strip& out) {
    int32x4_t v[4], t[4];
    const size_t chunks = format.block == kSuper ? 16 : 2 * blocks;
    for (size_t c = 0; c < chunks; ++c) {
        TERN_UNROLL
        for (size_t r = 0; r < kTileRows; ++r) v[r] = vreinterpretq_s32_s8(vld1q_s8(rows[r].q + 16 * c));
        transpose4(v, t);
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i) vst1q_s8(out.q[4 * c + i], vreinterpretq_s8_s32(t[i]));
    }
    if (format.block == kSuper) {
        const size_t groups = format.groups;
        int16_t scale[16 + 1][kTileRows];  // and a zero after the last group
        for (size_t g = 0; g < groups; g += 8) transpose_groups(rows, rows->scale + g, scale[g]);
        vst1_s16(scale[groups], vdup_n_s16(0));
        for (size_t g = 0; g < groups; ++g)
            vst1q_s32(out.scale[g], vsubl_s16(vld1_s16(scale[g]), vld1_s16(scale[g + 1])));
        if (format.has_min)
            for (size_t g = 0; g < groups; g += 8) transpose_groups(rows, rows->min + g, out.min[g]);
    }
    for (size_t j = 0; j < (format.block == kSuper ? 1 : blocks); j += 4) {
        transpose_scales(rows, rows->d + j, out.d[j]);
        if (format.has_min) transpose_scales(rows, rows->min_d + j, out.min_d[j]);
    }
}

// All tiles of one superblock of a panel.
void multiply(const PanelFormat& format, const Strip* strips, size_t count, const ActBlock* a, size_t tokens,
              float* sums, size_t blocks) {
    for (size_t t = 0; t < tokens; t += kTileTokens) {
        const size_t n = min_size(tokens - t, kTileTokens) - 1;
        float* c = sums + t * kPanelRows;
        size_t i = 0;
        for (; i + kTileStrips <= count; i += kTileStrips)
            format.tiles->tile[1][n](strips + i, a + t, c + i * kTileRows, blocks);
        for (; i < count; ++i) format.tiles->tile[0][n](strips + i, a + t, c + i * kTileRows, blocks);
    }
}

}  // namespace

size_t panel_scratch_bytes(size_t tokens) {
    return sizeof(Strip) * kPanelStrips + min_size(tokens, kTokenBlock) * kPanelRows * sizeof(float);
}

void run_panels(const PanelFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    Strip* strips = static_cast<Strip*>(args.scratch);
    float* sums = static_cast<float*>(static_cast<void*>(strips + kPanelStrips));
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const size_t total_blocks = args.k / format.block;
    const size_t per_super = kSuper / format.block;
    const size_t supers = (total_blocks + per_super - 1) / per_super;
    Row unpacked[kTileRows];
    memset(unpacked, 0, sizeof unpacked);
    for (size_t t0 = 0; t0 < args.tokens; t0 += kTokenBlock) {
        const size_t tokens = min_size(args.tokens - t0, kTokenBlock);
        const ActBlock* act = static_cast<const ActBlock*>(args.act) + t0;
        for (size_t row = 0; row < args.rows; row += kPanelRows) {
            const size_t rows = min_size(args.rows - row, kPanelRows);
            const size_t count = (rows + kTileRows - 1) / kTileRows;
            memset(sums, 0, tokens * kPanelRows * sizeof(float));
            for (size_t s = 0; s < supers; ++s) {
                const size_t blocks = min_size(per_super, total_blocks - s * per_super);
                const size_t offset = s * per_super * format.block_bytes;
                for (size_t i = 0; i < count; ++i) {
                    // Rows after the last one keep what stands there: their sums are not stored.
                    for (size_t r = 0; r < kTileRows && i * kTileRows + r < rows; ++r)
                        format.unpack(w + (row + i * kTileRows + r) * args.w_row_bytes + offset, blocks, ops,
                                      unpacked[r]);
                    transpose_strip(format, unpacked, blocks, strips[i]);
                }
                multiply(format, strips, count, act + s * args.act_stride, tokens, sums, blocks);
            }
            for (size_t t = 0; t < tokens; ++t)
                memcpy(args.out + (t0 + t) * args.out_stride + row, sums + t * kPanelRows, rows * sizeof(float));
        }
    }
}

}  // namespace tern::kernels::neon
