// Products of one or two tokens, straight from the file's rows: four rows at once, unpacked in registers, so that the
// chain of multiply-adds, whose order is fixed, has one row in each lane.
#pragma once

#include "kernels/neon/matmul_formats.h"

namespace tern::kernels::neon {

inline constexpr size_t kRowTokens = 2;

// The scale of a group minus that of the next one, per half of a block. With D the dot product of a half from its begin
// to the end of a group, the sum over groups of scale * (the group's own dot product) is the sum of this difference * D:
// the dot product never has to start again. In 32 bits, wrapping around; the result fits.
template <int kGroups>
TERN_INLINE void scale_steps(const int16x8_t* scale, int32x4_t steps[kGroups / 4]) {
    const int16x8_t none = vdupq_n_s16(0);
    if constexpr (kGroups == 8) {
        const int16x8_t inner = {-1, -1, -1, 0, -1, -1, -1, 0};
        const int16x8_t next = vandq_s16(vextq_s16(scale[0], none, 1), inner);
        steps[0] = vsubl_s16(vget_low_s16(scale[0]), vget_low_s16(next));
        steps[1] = vsubl_high_s16(scale[0], next);
    } else {
        TERN_UNROLL
        for (int h = 0; h < 2; ++h) {
            const int16x8_t next = vextq_s16(scale[h], none, 1);
            steps[2 * h] = vsubl_s16(vget_low_s16(scale[h]), vget_low_s16(next));
            steps[2 * h + 1] = vsubl_high_s16(scale[h], next);
        }
    }
}

// Sum over groups of scale * dot product for each token: add the four lanes. Two chains each, for the halves.
template <int kGroups, int kTokens>
TERN_INLINE void dot_256(const int8x16_t q[16], const int32x4_t* steps, const ActBlock* a, int32x4_t out[kTokens]) {
    int32x4_t sum[kTokens][2], dot[kTokens][2];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = dot[t][0] = dot[t][1] = vdupq_n_s32(0);
    for_lanes<16>([&](auto i) __attribute__((always_inline)) {
        constexpr int kHalf = decltype(i){} % 2;
        constexpr int kVector = 8 * kHalf + decltype(i){} / 2;
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            dot[t][kHalf] = vdotq_s32(dot[t][kHalf], q[kVector], vld1q_s8(a[t].q + 16 * kVector));
            if constexpr (kGroups == 16 || kVector % 2 == 1) {
                constexpr int kGroup = kVector * kGroups / 16;
                sum[t][kHalf] = vmlaq_laneq_s32(sum[t][kHalf], dot[t][kHalf], steps[kGroup / 4], kGroup % 4);
            }
        }
    });
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) out[t] = vaddq_s32(sum[t][0], sum[t][1]);
}

// Sum over groups of min * sum of activations: likewise.
template <int kGroups>
TERN_INLINE int32x4_t dot_mins(const int16x8_t* min, const ActBlock& a) {
    const int16_t* sums = kGroups == 8 ? a.k.sum32 : a.k.sum16;
    int32x4_t m = vdupq_n_s32(0);
    TERN_UNROLL
    for (int i = 0; i < kGroups / 8; ++i) {
        const int16x8_t s = vld1q_s16(sums + 8 * i);
        m = vmlal_high_s16(vmlal_s16(m, vget_low_s16(min[i]), vget_low_s16(s)), min[i], s);
    }
    return m;
}

// The rows of a tile; where fewer than four are left, the last one again.
TERN_INLINE void tile_rows(const MatmulArgs& args, size_t row, const uint8_t* w[kTileRows]) {
    for (size_t r = 0; r < kTileRows; ++r)
        w[r] = static_cast<const uint8_t*>(args.w) + min_size(row + r, args.rows - 1) * args.w_row_bytes;
}
TERN_INLINE void store_tile(const MatmulArgs& args, size_t row, size_t token, float32x4_t v) {
    float* out = args.out + token * args.out_stride + row;
    if (args.rows - row >= kTileRows) return vst1q_f32(out, v);
    float lanes[kTileRows];
    vst1q_f32(lanes, v);
    memcpy(out, lanes, (args.rows - row) * sizeof(float));
}

// Formats of 256 elements. kGeneral: through FormatOps::unpack.
template <class Format, int kTokens, bool kGeneral>
static void rows_256(const MatmulArgs& args, const FormatOps& ops, size_t block_bytes) {
    constexpr int kGroups = Format::kGroups;
    for (size_t row = 0; row < args.rows; row += kTileRows) {
        const uint8_t* w[kTileRows];
        tile_rows(args, row, w);
        const ActBlock* a = static_cast<const ActBlock*>(args.act);
        float32x4_t acc[kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) acc[t] = vdupq_n_f32(0.0f);
        for (size_t s = 0; s < args.k / kSuper; ++s, a += args.act_stride) {
            UnpackedBlock unpacked[kGeneral ? kTileRows : 1];
            const uint8_t* blocks[kTileRows];
            TERN_UNROLL
            for (size_t r = 0; r < kTileRows; ++r) {
                blocks[r] = w[r];
                if constexpr (kGeneral) {
                    ops.unpack(w[r], unpacked[r]);
                    blocks[r] = static_cast<const uint8_t*>(static_cast<const void*>(&unpacked[r]));
                }
                w[r] += block_bytes;
            }
            int32x4_t dots[kTokens][kTileRows], mins[kTokens][kTileRows];
            TERN_NO_UNROLL
            for (size_t r = 0; r < kTileRows; ++r) {
                int16x8_t scale[2], min[2];
                int32x4_t steps[kGroups / 4];
                int8x16_t q[16];
                Format::groups(blocks[r], scale, min);
                scale_steps<kGroups>(scale, steps);
                Format::unpack(blocks[r], q);
                int32x4_t dot[kTokens];
                dot_256<kGroups, kTokens>(q, steps, a, dot);
                TERN_UNROLL
                for (int t = 0; t < kTokens; ++t) {
                    dots[t][r] = dot[t];
                    if constexpr (Format::kMin) mins[t][r] = dot_mins<kGroups>(min, a[t]);
                }
            }
            const float32x4_t d = Format::four_scales(blocks);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const float32x4_t sum = vcvtq_f32_s32(sums_of_lanes(dots[t]));
                float32x4_t u;
                if constexpr (Format::kMin) {
                    const float32x4_t m = vcvtq_f32_s32(sums_of_lanes(mins[t]));
                    u = vfmaq_f32(vnegq_f32(vmulq_f32(Format::four_mins(blocks), m)), d, sum);
                } else {
                    u = vmulq_f32(d, sum);
                }
                acc[t] = vfmaq_n_f32(acc[t], u, a[t].k.d);
            }
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) store_tile(args, row, static_cast<size_t>(t), acc[t]);
    }
}

// Formats of 32 elements.
template <class Format, int kTokens>
static void rows_32(const MatmulArgs& args) {
    for (size_t row = 0; row < args.rows; row += kTileRows) {
        const uint8_t* w[kTileRows];
        tile_rows(args, row, w);
        const ActBlock* a = static_cast<const ActBlock*>(args.act);
        float32x4_t acc[kTokens];
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) acc[t] = vdupq_n_f32(0.0f);
        for (size_t left = args.k / 32; left > 0; a += args.act_stride) {
            const size_t blocks = min_size(left, kSuper / 32);
            left -= blocks;
            TERN_NO_UNROLL
            for (size_t j = 0; j < blocks; ++j) {
                int32x4_t dots[kTokens][kTileRows];
                TERN_UNROLL
                for (size_t r = 0; r < kTileRows; ++r) {
                    int8x16_t q[2];
                    Format::unpack(w[r], q);
                    TERN_UNROLL
                    for (int t = 0; t < kTokens; ++t) {
                        const int8_t* x = a[t].q + 32 * j;
                        dots[t][r] = vdotq_s32(vdotq_s32(vdupq_n_s32(0), q[0], vld1q_s8(x)), q[1], vld1q_s8(x + 16));
                    }
                }
                const float32x4_t d = Format::four_scales(w);
                TERN_UNROLL
                for (int t = 0; t < kTokens; ++t) {
                    const float da = a[t].b.d[j];
                    acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, da), vcvtq_f32_s32(sums_of_lanes(dots[t])));
                    if constexpr (Format::kMin)
                        acc[t] = vfmaq_n_f32(acc[t], vmulq_n_f32(Format::four_mins(w), da),
                                             static_cast<float>(a[t].b.sum[j]));
                }
                TERN_UNROLL
                for (size_t r = 0; r < kTileRows; ++r) w[r] += Format::kBytes;
            }
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) store_tile(args, row, static_cast<size_t>(t), acc[t]);
    }
}

}  // namespace tern::kernels::neon
