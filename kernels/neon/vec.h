// 16 floats in four Q registers: the vocabulary that kernels/simd is written in. Everything has internal linkage; see
// kernels/simd/README.md for the contract.
#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define TERN_INLINE static inline __attribute__((always_inline))

namespace tern::kernels {

// ---- registers: kParts of them hold the 16 lanes -------------------------------------------------------------------
using Reg = float32x4_t;
static constexpr size_t kLanes = 4;
static constexpr size_t kParts = 4;

TERN_INLINE Reg reg_zero() { return vdupq_n_f32(0.0f); }
TERN_INLINE Reg reg_set1(float x) { return vdupq_n_f32(x); }
TERN_INLINE Reg reg_load(const float* p) { return vld1q_f32(p); }
TERN_INLINE void reg_store(float* p, Reg v) { vst1q_f32(p, v); }
TERN_INLINE Reg reg_load_f16(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
TERN_INLINE Reg reg_load_bf16(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
TERN_INLINE Reg reg_fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }

// ---- vectors of 16 --------------------------------------------------------------------------------------------------
struct Vec {
    float32x4_t v[4];
};
struct Mask {
    uint32x4_t v[4];  // all bits of a lane, or none
};
// The expression with i = 0, 1, 2 and 3: one register each.
template <class T, class F>
TERN_INLINE T each(F f) {
    return T{{f(0), f(1), f(2), f(3)}};
}
#define TERN_EACH(T, expression) each<T>([&](size_t i) __attribute__((always_inline)) { return expression; })

TERN_INLINE Mask mask_first(size_t n) {
    const uint32x4_t numbers = {0, 1, 2, 3};
    const uint32_t count = static_cast<uint32_t>(n < 16 ? n : 16);
    return TERN_EACH(Mask, vcltq_u32(vaddq_u32(numbers, vdupq_n_u32(static_cast<uint32_t>(4 * i))),
                                     vdupq_n_u32(count)));
}
// Lane i of the result: bit i of `bits`.
TERN_INLINE Mask mask_bits(uint32_t bits) {
    const uint32x4_t bit = {1, 2, 4, 8};
    return TERN_EACH(Mask, vtstq_u32(vdupq_n_u32(bits >> 4 * i), bit));
}
TERN_INLINE Mask mask_less(Vec a, Vec b) { return TERN_EACH(Mask, vcltq_f32(a.v[i], b.v[i])); }
TERN_INLINE Mask mask_equal(Vec a, Vec b) { return TERN_EACH(Mask, vceqq_f32(a.v[i], b.v[i])); }
TERN_INLINE Vec select(Mask m, Vec yes, Vec no) { return TERN_EACH(Vec, vbslq_f32(m.v[i], yes.v[i], no.v[i])); }

TERN_INLINE Vec set1(float x) { return TERN_EACH(Vec, (static_cast<void>(i), vdupq_n_f32(x))); }
TERN_INLINE Vec zero() { return set1(0.0f); }
TERN_INLINE Vec load(const float* p) { return TERN_EACH(Vec, vld1q_f32(p + 4 * i)); }
TERN_INLINE void store(float* p, Vec a) {
    vst1q_f32(p, a.v[0]);
    vst1q_f32(p + 4, a.v[1]);
    vst1q_f32(p + 8, a.v[2]);
    vst1q_f32(p + 12, a.v[3]);
}
// The first n lanes, n <= 16; the others are zero, or not written.
TERN_INLINE float32x4_t reg_load_part(const float* p, size_t n) {
    float32x4_t v = vdupq_n_f32(0.0f);
    if (n >= 4) return vld1q_f32(p);
    if (n > 0) v = vld1q_lane_f32(p, v, 0);
    if (n > 1) v = vld1q_lane_f32(p + 1, v, 1);
    if (n > 2) v = vld1q_lane_f32(p + 2, v, 2);
    return v;
}
TERN_INLINE void reg_store_part(float* p, float32x4_t v, size_t n) {
    if (n >= 4) return vst1q_f32(p, v);
    if (n > 0) vst1q_lane_f32(p, v, 0);
    if (n > 1) vst1q_lane_f32(p + 1, v, 1);
    if (n > 2) vst1q_lane_f32(p + 2, v, 2);
}
TERN_INLINE size_t rest_of(size_t n, size_t part) { return n > 4 * part ? n - 4 * part : 0; }
TERN_INLINE Vec load_part(const float* p, size_t n) {
    if (n >= 16) return load(p);
    return TERN_EACH(Vec, reg_load_part(p + 4 * i, rest_of(n, i)));
}
TERN_INLINE void store_part(float* p, Vec a, size_t n) {
    if (n >= 16) return store(p, a);
    for (size_t i = 0; i < 4; ++i) reg_store_part(p + 4 * i, a.v[i], rest_of(n, i));
}
TERN_INLINE Vec load_f16(const uint16_t* p) { return TERN_EACH(Vec, reg_load_f16(p + 4 * i)); }
TERN_INLINE Vec load_f16_part(const uint16_t* p, size_t n) {
    uint16_t whole[16] = {};
    __builtin_memcpy(whole, p, n * sizeof *p);
    return load_f16(whole);
}
TERN_INLINE Vec load_bf16_part(const uint16_t* p, size_t n) {
    uint16_t whole[16] = {};
    __builtin_memcpy(whole, p, n * sizeof *p);
    return TERN_EACH(Vec, reg_load_bf16(whole + 4 * i));
}
TERN_INLINE Vec widen_i8(int8x16_t b) {
    const int16x8_t low = vmovl_s8(vget_low_s8(b)), high = vmovl_high_s8(b);
    return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
             vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}
TERN_INLINE Vec load_i8(const int8_t* p) { return widen_i8(vld1q_s8(p)); }
TERN_INLINE Vec load_i8_part(const int8_t* p, size_t n) {
    int8_t whole[16] = {};
    __builtin_memcpy(whole, p, n);
    return load_i8(whole);
}
// Four bits of each byte, from bit `shift` (0 or 4) on, less 8.
TERN_INLINE Vec load_u4(const uint8_t* p, unsigned shift) {
    const uint8x16_t u = vandq_u8(vshlq_u8(vld1q_u8(p), vdupq_n_s8(static_cast<int8_t>(-static_cast<int>(shift)))),
                                  vdupq_n_u8(15));
    return widen_i8(vsubq_s8(vreinterpretq_s8_u8(u), vdupq_n_s8(8)));
}
TERN_INLINE Vec load_u4_part(const uint8_t* p, unsigned shift, size_t n) {
    uint8_t whole[16] = {};
    __builtin_memcpy(whole, p, n);
    return load_u4(whole, shift);
}
TERN_INLINE void store_f16(uint16_t* p, Vec a) {
    vst1q_u16(p, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.v[0]), a.v[1])));
    vst1q_u16(p + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.v[2]), a.v[3])));
}
TERN_INLINE void store_f16_part(uint16_t* p, Vec v, size_t n) {
    uint16_t whole[16];
    store_f16(whole, v);
    __builtin_memcpy(p, whole, n * sizeof *p);
}

TERN_INLINE Vec add(Vec a, Vec b) { return TERN_EACH(Vec, vaddq_f32(a.v[i], b.v[i])); }
TERN_INLINE Vec sub(Vec a, Vec b) { return TERN_EACH(Vec, vsubq_f32(a.v[i], b.v[i])); }
TERN_INLINE Vec mul(Vec a, Vec b) { return TERN_EACH(Vec, vmulq_f32(a.v[i], b.v[i])); }
TERN_INLINE Vec div(Vec a, Vec b) { return TERN_EACH(Vec, vdivq_f32(a.v[i], b.v[i])); }
TERN_INLINE Vec fma(Vec a, Vec b, Vec c) { return TERN_EACH(Vec, vfmaq_f32(c.v[i], a.v[i], b.v[i])); }
TERN_INLINE Vec fnma(Vec a, Vec b, Vec c) {  // c - a * b
    return TERN_EACH(Vec, vfmsq_f32(c.v[i], a.v[i], b.v[i]));
}
// fma in the lanes of m, c in the others.
TERN_INLINE Vec fma_where(Mask m, Vec a, Vec b, Vec c) { return select(m, fma(a, b, c), c); }
// b where either is NaN; not fmax, which has another answer to that.
TERN_INLINE Vec max(Vec a, Vec b) { return TERN_EACH(Vec, vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i])); }
TERN_INLINE Vec min(Vec a, Vec b) { return TERN_EACH(Vec, vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i])); }
// The sign bits of `signs` turn those of a.
TERN_INLINE Vec flip_signs(Vec a, Vec signs) {
    return TERN_EACH(Vec, vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a.v[i]),
                                                          vreinterpretq_u32_f32(signs.v[i]))));
}
TERN_INLINE Vec magnitude(Vec a) { return TERN_EACH(Vec, vabsq_f32(a.v[i])); }
TERN_INLINE Vec with_sign_of(Vec a, Vec sign) {  // a >= 0
    return TERN_EACH(Vec, vbslq_f32(vdupq_n_u32(0x80000000u), sign.v[i], a.v[i]));
}
TERN_INLINE Vec round_even(Vec a) { return TERN_EACH(Vec, vrndnq_f32(a.v[i])); }
// a * 2^n rounded once; a in [0.5, 2], n integral in [-151, 129]. Half of the power first, which is exact.
TERN_INLINE float32x4_t reg_scale_by_power(float32x4_t a, float32x4_t n) {
    const int32x4_t bias = vdupq_n_s32(127);
    const int32x4_t e = vcvtq_s32_f32(n);
    const int32x4_t half = vshrq_n_s32(e, 1);
    const int32x4_t rest = vsubq_s32(e, half);
    const float32x4_t p = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    const float32x4_t q = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(a, p), q);
}
TERN_INLINE Vec scale_by_power(Vec a, Vec n) { return TERN_EACH(Vec, reg_scale_by_power(a.v[i], n.v[i])); }

TERN_INLINE float square_root(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
TERN_INLINE float first_lane(Vec a) { return vgetq_lane_f32(a.v[0], 0); }

// The fixed tree: s[i] += s[i + 8], then 4, 2, 1.
TERN_INLINE float tree(Vec a) {
    const float32x4_t b = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
    return vpadds_f32(vadd_f32(vget_low_f32(b), vget_high_f32(b)));
}
TERN_INLINE float largest(Vec a) {
    const Vec swapped = {{a.v[2], a.v[3], a.v[0], a.v[1]}};
    const Vec b = max(a, swapped);
    const Vec c = max(b, {{b.v[1], b.v[0], b.v[3], b.v[2]}});
    const Vec d = max(c, TERN_EACH(Vec, vextq_f32(c.v[i], c.v[i], 2)));
    return first_lane(max(d, TERN_EACH(Vec, vrev64q_f32(d.v[i]))));
}

// Pairs: a0 b0 a1 b1 … of eight each; the even or odd lanes twice.
TERN_INLINE Vec interleave8(const float* a, const float* b) {
    const float32x4_t x0 = vld1q_f32(a), x1 = vld1q_f32(a + 4);
    const float32x4_t y0 = vld1q_f32(b), y1 = vld1q_f32(b + 4);
    return {{vzip1q_f32(x0, y0), vzip2q_f32(x0, y0), vzip1q_f32(x1, y1), vzip2q_f32(x1, y1)}};
}
TERN_INLINE Vec evens_twice(Vec a) { return TERN_EACH(Vec, vtrn1q_f32(a.v[i], a.v[i])); }
TERN_INLINE Vec odds_twice(Vec a) { return TERN_EACH(Vec, vtrn2q_f32(a.v[i], a.v[i])); }

// What follows in the source stays below: the tiles fill the registers, and GCC, which would begin early to load the
// next operands, has to spill then. The processor reorders anyway.
TERN_INLINE void loads_stay_below() { __asm__ volatile(""); }
// Into the first-level cache, and into the second.
TERN_INLINE void prefetch(const void* p) { __builtin_prefetch(p); }
TERN_INLINE void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }

// ---- tile shapes, chosen for 32 registers ---------------------------------------------------------------------------
// Float matrix product: rows x tokens of one pass.
static constexpr size_t kTileRows = 8;
static constexpr size_t kTileTokens = 3;
// Attention: query rows x vectors of positions, or of output.
static constexpr size_t kQueryTile = 6;
static constexpr size_t kScoreVecs = 1;
static constexpr size_t kValueVecs = 1;

}  // namespace tern::kernels
