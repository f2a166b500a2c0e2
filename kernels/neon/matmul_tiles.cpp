#include "kernels/neon/matmul_panel.h"

namespace tern::kernels::neon {
namespace {

constexpr int kOutStride = static_cast<int>(kPanelRows);
constexpr int kRows = static_cast<int>(kTileRows);

// What follows in the source stays below: the registers hold the sums and one set of loads. GCC would begin early with
// the next one and has to spill then. The processor reorders anyway.
TERN_INLINE void loads_stay_below() { __asm__ volatile(""); }

// Sixteen elements of k, from step `first` of four on. Each lane of `b` holds four of them.
template <int kStrips, int kTokens>
TERN_INLINE void accumulate(const Strip* p, const ActBlock* a, size_t first, int32x4_t dot[kStrips][kTokens]) {
    loads_stay_below();
    int8x16_t b[kTokens];
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) b[t] = vld1q_s8(a[t].q + 4 * first);
    for_lanes<4>([&](auto lane) __attribute__((always_inline)) {
        TERN_UNROLL
        for (int v = 0; v < kStrips; ++v) {
            const int8x16_t w = vld1q_s8(p[v].q[first + lane]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) dot[v][t] = vdotq_laneq_s32(dot[v][t], w, b[t], lane);
        }
    });
}

template <int kStrips, int kTokens>
TERN_INLINE void clear(int32x4_t v[kStrips][kTokens]) {
    TERN_UNROLL
    for (int i = 0; i < kStrips; ++i)
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) v[i][t] = vdupq_n_s32(0);
}

// The dot products run on from group to group: with D(g) the one from the begin of the block to the end of group g, and
// scale(kGroups) = 0, the sum of scale(g) * (D(g) - D(g - 1)) is that of (scale(g) - scale(g + 1)) * D(g). In 32 bits,
// wrapping around; the result fits.
template <int kStrips, int kTokens, int kGroups, bool kMin>
void tile_256(const Strip* p, const ActBlock* a, float* c, size_t) {
    int32x4_t sum[kStrips][kTokens], dot[kStrips][kTokens];
    clear<kStrips, kTokens>(sum);
    clear<kStrips, kTokens>(dot);
    TERN_NO_UNROLL
    for (size_t g = 0; g < kGroups; ++g) {
        constexpr size_t kSteps = 64 / kGroups;
        TERN_UNROLL
        for (size_t step = 0; step < kSteps; step += 4) accumulate<kStrips, kTokens>(p, a, g * kSteps + step, dot);
        TERN_UNROLL
        for (int v = 0; v < kStrips; ++v) {
            const int32x4_t scale = vld1q_s32(p[v].scale[g]);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) sum[v][t] = vmlaq_s32(sum[v][t], dot[v][t], scale);
        }
    }
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        [[maybe_unused]] int16x8_t sums[2];
        if constexpr (kMin) {
            sums[0] = vld1q_s16(kGroups == 8 ? a[t].k.sum32 : a[t].k.sum16);
            if constexpr (kGroups == 16) sums[1] = vld1q_s16(a[t].k.sum16 + 8);
        }
        TERN_UNROLL
        for (int v = 0; v < kStrips; ++v) {
            const float32x4_t d = vld1q_f32(p[v].d[0]);
            const float32x4_t s = vcvtq_f32_s32(sum[v][t]);
            float32x4_t u;
            if constexpr (kMin) {
                int32x4_t m = vdupq_n_s32(0);
                for_lanes<kGroups>([&](auto g) __attribute__((always_inline)) {
                    m = vmlal_laneq_s16(m, vld1_s16(p[v].min[g]), sums[g / 8], g % 8);
                });
                u = vfmaq_f32(vnegq_f32(vmulq_f32(vld1q_f32(p[v].min_d[0]), vcvtq_f32_s32(m))), d, s);
            } else {
                u = vmulq_f32(d, s);
            }
            float* out = c + t * kOutStride + v * kRows;
            vst1q_f32(out, vfmaq_n_f32(vld1q_f32(out), u, a[t].k.d));
        }
    }
}

template <int kStrips, int kTokens, bool kMin>
void tile_32(const Strip* p, const ActBlock* a, float* c, size_t blocks) {
    float32x4_t f[kStrips][kTokens];
    TERN_UNROLL
    for (int v = 0; v < kStrips; ++v)
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) f[v][t] = vld1q_f32(c + t * kOutStride + v * kRows);
    TERN_NO_UNROLL
    for (size_t j = 0; j < blocks; ++j) {
        int32x4_t dot[kStrips][kTokens];
        clear<kStrips, kTokens>(dot);
        accumulate<kStrips, kTokens>(p, a, 8 * j, dot);
        accumulate<kStrips, kTokens>(p, a, 8 * j + 4, dot);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            loads_stay_below();
            const float da = a[t].b.d[j];
            [[maybe_unused]] const float sum = static_cast<float>(a[t].b.sum[j]);
            TERN_UNROLL
            for (int v = 0; v < kStrips; ++v) {
                f[v][t] = vfmaq_f32(f[v][t], vmulq_n_f32(vld1q_f32(p[v].d[j]), da), vcvtq_f32_s32(dot[v][t]));
                if constexpr (kMin)
                    f[v][t] = vfmaq_n_f32(f[v][t], vmulq_n_f32(vld1q_f32(p[v].min_d[j]), da), sum);
            }
        }
    }
    TERN_UNROLL
    for (int v = 0; v < kStrips; ++v)
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) vst1q_f32(c + t * kOutStride + v * kRows, f[v][t]);
}

static_assert(kTileTokens == 4);
constexpr int kStrips = static_cast<int>(kTileStrips);
template <int kGroups, bool kMin>
constexpr TileSet set_256() {
    return {{{tile_256<1, 1, kGroups, kMin>, tile_256<1, 2, kGroups, kMin>, tile_256<1, 3, kGroups, kMin>,
              tile_256<1, 4, kGroups, kMin>},
             {tile_256<kStrips, 1, kGroups, kMin>, tile_256<kStrips, 2, kGroups, kMin>,
              tile_256<kStrips, 3, kGroups, kMin>, tile_256<kStrips, 4, kGroups, kMin>}}};
}
template <bool kMin>
constexpr TileSet set_32() {
    return {{{tile_32<1, 1, kMin>, tile_32<1, 2, kMin>, tile_32<1, 3, kMin>, tile_32<1, 4, kMin>},
             {tile_32<kStrips, 1, kMin>, tile_32<kStrips, 2, kMin>, tile_32<kStrips, 3, kMin>,
              tile_32<kStrips, 4, kMin>}}};
}

}  // namespace

constexpr TileSet kTiles256Groups8 = set_256<8, false>();
constexpr TileSet kTiles256Groups8Min = set_256<8, true>();
constexpr TileSet kTiles256Groups16 = set_256<16, false>();
constexpr TileSet kTiles256Groups16Min = set_256<16, true>();
constexpr TileSet kTiles32 = set_32<false>();
constexpr TileSet kTiles32Min = set_32<true>();

}  // namespace tern::kernels::neon
