// Building blocks shared by the quantised matrix products of this folder. Everything is internal to the object that
// includes it.
#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/formats/format.h"
#include "kernels/kernel.h"

#define TERN_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define TERN_UNROLL _Pragma("clang loop unroll(full)")
#define TERN_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define TERN_UNROLL _Pragma("GCC unroll 64")
#define TERN_NO_UNROLL _Pragma("GCC unroll 1")
#endif

namespace tern::kernels::neon {

inline constexpr size_t kSuper = 256;    // elements of an ActBlock
inline constexpr size_t kTileRows = 4;   // rows in the lanes of a register

TERN_INLINE size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

// Lanes must be constants of the language: f(Lane<0>), f(Lane<1>) … up to kCount - 1.
template <int kLane>
struct Lane {
    constexpr operator int() const { return kLane; }
};
template <int kCount, int kFirst = 0, class F>
TERN_INLINE void for_lanes(F f) {
    if constexpr (kFirst < kCount) {
        f(Lane<kFirst>{});
        for_lanes<kCount, kFirst + 1>(f);
    }
}

TERN_INLINE uint8x16_t load16(const void* p) { return vld1q_u8(static_cast<const uint8_t*>(p)); }
TERN_INLINE int8x16_t as_signed(uint8x16_t v) { return vreinterpretq_s8_u8(v); }

TERN_INLINE uint32_t load_u32(const void* p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
TERN_INLINE uint16_t load_u16(const void* p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
TERN_INLINE float half_to_float(const void* p) {
    float16_t h;
    memcpy(&h, p, 2);
    return static_cast<float>(h);
}
// The halves at the four pointers plus `offset`.
TERN_INLINE float32x4_t four_halves(const uint8_t* const* p, size_t offset) {
    uint16x4_t h = vdup_n_u16(0);
    h = vset_lane_u16(load_u16(p[0] + offset), h, 0);
    h = vset_lane_u16(load_u16(p[1] + offset), h, 1);
    h = vset_lane_u16(load_u16(p[2] + offset), h, 2);
    h = vset_lane_u16(load_u16(p[3] + offset), h, 3);
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}
// The sum of the lanes of register i in lane i.
TERN_INLINE int32x4_t sums_of_lanes(const int32x4_t v[4]) {
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

}  // namespace tern::kernels::neon
