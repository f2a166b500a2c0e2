// One struct per format: how its blocks become int8 in natural order, straight into registers. The dot product of this
// instruction set is signed, so there are no biases. kernels/formats/<format>.h describes the blocks.
#pragma once

#include "kernels/formats/half.h"
#include "kernels/neon/matmul_common.h"

namespace tern::kernels::neon {

// Where the float scales of a block are: f16 at fixed offsets, in nearly all formats.
template <size_t kScaleAt, size_t kMinAt = 0>
struct Halves {
    TERN_INLINE float scale(const uint8_t* p) { return half_to_float(p + kScaleAt); }
    TERN_INLINE float32x4_t four_scales(const uint8_t* const* p) { return four_halves(p, kScaleAt); }
    TERN_INLINE float min(const uint8_t* p) { return half_to_float(p + kMinAt); }
    TERN_INLINE float32x4_t four_mins(const uint8_t* const* p) { return four_halves(p, kMinAt); }
};

TERN_INLINE uint8x16_t low_nibbles(uint8x16_t v) { return vandq_u8(v, vdupq_n_u8(0x0f)); }
TERN_INLINE uint8x16_t high_nibbles(uint8x16_t v) { return vshrq_n_u8(v, 4); }
// Bit kFrom of each byte, moved to bit kTo.
template <int kFrom, int kTo>
TERN_INLINE uint8x16_t bit_to(uint8x16_t v) {
    if constexpr (kFrom < kTo)
        v = vshlq_n_u8(v, kTo - kFrom);
    else if constexpr (kFrom > kTo)
        v = vshrq_n_u8(v, kFrom - kTo);
    return vandq_u8(v, vdupq_n_u8(1 << kTo));
}
TERN_INLINE int16x8_t widen_bytes(uint32_t low, uint32_t high) {
    return vreinterpretq_s16_u16(vmovl_u8(vcreate_u8(uint64_t{high} << 32 | low)));
}
// The values of IQ4_NL and IQ4_XS (kernels/formats/iq4_nl.h).
TERN_INLINE int8x16_t iq4_table() {
    return int8x16_t{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
}

// ---- formats of 256 elements -------------------------------------------------------------------------------------
// unpack() gives 16 registers; groups() the integer scales, and minimums where kMin is set, of kGroups groups.
struct FormatQ4_K : Halves<0, 2> {
    static constexpr size_t kBytes = 144;
    static constexpr int kGroups = 8;
    static constexpr bool kMin = true;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        TERN_UNROLL
        for (int i = 0; i < 4; ++i) {
            const uint8x16_t a = load16(p + 16 + 32 * i), b = load16(p + 32 + 32 * i);
            q[4 * i] = as_signed(low_nibbles(a));
            q[4 * i + 1] = as_signed(low_nibbles(b));
            q[4 * i + 2] = as_signed(high_nibbles(a));
            q[4 * i + 3] = as_signed(high_nibbles(b));
        }
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t* min) {
        const uint32_t a = load_u32(p + 4), b = load_u32(p + 8), c = load_u32(p + 12);
        *scale = widen_bytes(a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030));
        *min = widen_bytes(b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030));
    }
};

struct FormatQ5_K : Halves<0, 2> {
    static constexpr size_t kBytes = 176;
    static constexpr int kGroups = 8;
    static constexpr bool kMin = true;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        for_lanes<2>([&](auto half) __attribute__((always_inline)) {
            const uint8x16_t high = load16(p + 16 + 16 * half);
            for_lanes<4>([&](auto i) __attribute__((always_inline)) {
                const uint8x16_t v = load16(p + 48 + 32 * i + 16 * half);
                q[4 * i + half] = as_signed(vorrq_u8(low_nibbles(v), bit_to<2 * i, 4>(high)));
                q[4 * i + 2 + half] = as_signed(vorrq_u8(high_nibbles(v), bit_to<2 * i + 1, 4>(high)));
            });
        });
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t* min) { FormatQ4_K::groups(p, scale, min); }
};

struct FormatQ6_K : Halves<208> {
    static constexpr size_t kBytes = 210;
    static constexpr int kGroups = 16;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        const uint8x16_t six = vdupq_n_u8(0x3f);
        const int8x16_t bias = vdupq_n_s8(32);
        TERN_UNROLL
        for (int h = 0; h < 2; ++h)
            TERN_UNROLL
            for (int i = 0; i < 2; ++i) {
                const uint8x16_t a = load16(p + 64 * h + 16 * i), b = load16(p + 64 * h + 32 + 16 * i);
                const uint8x16_t c = load16(p + 128 + 32 * h + 16 * i);
                const uint8x16_t d = vshrq_n_u8(c, 2);
                // Shifts that insert put two bits of c above four of the others; what is higher is masked.
                int8x16_t* out = q + 8 * h + i;
                out[0] = vsubq_s8(as_signed(vandq_u8(vsliq_n_u8(a, c, 4), six)), bias);
                out[2] = vsubq_s8(as_signed(vandq_u8(vsliq_n_u8(b, d, 4), six)), bias);
                out[4] = vsubq_s8(as_signed(vandq_u8(vsriq_n_u8(c, a, 4), six)), bias);
                out[6] = vsubq_s8(as_signed(vsriq_n_u8(d, b, 4)), bias);
            }
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t*) {
        const int8x16_t v = as_signed(load16(p + 192));
        scale[0] = vmovl_s8(vget_low_s8(v));
        scale[1] = vmovl_high_s8(v);
    }
};

struct FormatQ2_K : Halves<80, 82> {
    static constexpr size_t kBytes = 84;
    static constexpr int kGroups = 16;
    static constexpr bool kMin = true;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        for_lanes<4>([&](auto i) __attribute__((always_inline)) {
            const uint8x16_t v = load16(p + 16 + 16 * i), two = vdupq_n_u8(3);
            int8x16_t* out = q + 8 * (i / 2) + i % 2;
            out[0] = as_signed(vandq_u8(v, two));
            out[2] = as_signed(vandq_u8(vshrq_n_u8(v, 2), two));
            out[4] = as_signed(vandq_u8(vshrq_n_u8(v, 4), two));
            out[6] = as_signed(vshrq_n_u8(v, 6));
        });
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t* min) {
        const uint8x16_t v = load16(p), low = low_nibbles(v), high = high_nibbles(v);
        scale[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(low)));
        scale[1] = vreinterpretq_s16_u16(vmovl_high_u8(low));
        min[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(high)));
        min[1] = vreinterpretq_s16_u16(vmovl_high_u8(high));
    }
};

struct FormatQ3_K : Halves<108> {
    static constexpr size_t kBytes = 110;
    static constexpr int kGroups = 16;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        for_lanes<2>([&](auto i) __attribute__((always_inline)) {
            const uint8x16_t clear = vmvnq_u8(load16(p + 16 * i));  // where the third bit is 0: 4 less
            for_lanes<2>([&](auto h) __attribute__((always_inline)) {
                const uint8x16_t v = load16(p + 32 + 32 * h + 16 * i);
                for_lanes<4>([&](auto s) __attribute__((always_inline)) {
                    uint8x16_t two = v;
                    if constexpr (s > 0) two = vshrq_n_u8(v, 2 * s);
                    if constexpr (s < 3) two = vandq_u8(two, vdupq_n_u8(3));
                    const uint8x16_t less = vtstq_u8(clear, vdupq_n_u8(1 << (4 * h + s)));
                    q[8 * h + 2 * s + i] = as_signed(vorrq_u8(two, vandq_u8(less, vdupq_n_u8(0xfc))));
                });
            });
        });
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t*) {
        const uint32_t a = load_u32(p + 96), b = load_u32(p + 100), c = load_u32(p + 104);
        const uint32_t low = 0x0f0f0f0f, top = 0x30303030;
        const int16x8_t bias = vdupq_n_s16(32);
        scale[0] = vsubq_s16(widen_bytes((a & low) | (c << 4 & top), (b & low) | (c << 2 & top)), bias);
        scale[1] = vsubq_s16(widen_bytes((a >> 4 & low) | (c & top), (b >> 4 & low) | (c >> 2 & top)), bias);
    }
};

struct FormatIQ4_XS : Halves<0> {
    static constexpr size_t kBytes = 136;
    static constexpr int kGroups = 8;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        TERN_UNROLL
        for (int j = 0; j < 8; ++j) {
            const uint8x16_t v = load16(p + 8 + 16 * j);
            q[2 * j] = vqtbl1q_s8(iq4_table(), low_nibbles(v));
            q[2 * j + 1] = vqtbl1q_s8(iq4_table(), high_nibbles(v));
        }
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t*) {
        const int16x8_t high_shifts = {4, 2, 0, -2, -4, -6, -8, -10};  // bits 2j and 2j + 1 to 4 and 5
        const int16x8_t low_shifts = {0, -4, -8, -12, 0, -4, -8, -12};
        const uint32_t word = load_u32(p + 4);
        const uint16x8_t low = vcombine_u16(vdup_n_u16(static_cast<uint16_t>(word)),
                                            vdup_n_u16(static_cast<uint16_t>(word >> 16)));
        const uint16x8_t four = vandq_u16(vshlq_u16(low, low_shifts), vdupq_n_u16(15));
        const uint16x8_t two = vandq_u16(vshlq_u16(vdupq_n_u16(load_u16(p + 2)), high_shifts), vdupq_n_u16(48));
        *scale = vsubq_s16(vreinterpretq_s16_u16(vorrq_u16(four, two)), vdupq_n_s16(32));
    }
};

// Any other format of 256 elements: `p` is an UnpackedBlock, which FormatOps::unpack has filled.
template <bool kHasMin>
struct FormatGeneral {
    static constexpr int kGroups = 16;
    static constexpr bool kMin = kHasMin;
    TERN_INLINE const UnpackedBlock& block(const uint8_t* p) {
        return *static_cast<const UnpackedBlock*>(static_cast<const void*>(p));
    }
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[16]) {
        TERN_UNROLL
        for (int i = 0; i < 16; ++i) q[i] = vld1q_s8(block(p).q + 16 * i);
    }
    TERN_INLINE void groups(const uint8_t* p, int16x8_t* scale, int16x8_t* min) {
        scale[0] = vld1q_s16(block(p).scale);
        scale[1] = vld1q_s16(block(p).scale + 8);
        if constexpr (kMin) {
            min[0] = vld1q_s16(block(p).min);
            min[1] = vld1q_s16(block(p).min + 8);
        }
    }
    TERN_INLINE float scale(const uint8_t* p) { return block(p).d; }
    TERN_INLINE float min(const uint8_t* p) { return block(p).dmin; }
    TERN_INLINE float32x4_t four_scales(const uint8_t* const* p) {
        return float32x4_t{scale(p[0]), scale(p[1]), scale(p[2]), scale(p[3])};
    }
    TERN_INLINE float32x4_t four_mins(const uint8_t* const* p) {
        return float32x4_t{min(p[0]), min(p[1]), min(p[2]), min(p[3])};
    }
};

// ---- formats of 32 elements --------------------------------------------------------------------------------------
// unpack() gives two registers. The minimum is what is added to each value: minus `dmin` of the definition.
TERN_INLINE void nibbles32(const uint8_t* p, uint8x16_t v[2]) {
    const uint8x16_t both = load16(p);
    v[0] = low_nibbles(both);
    v[1] = high_nibbles(both);
}
// All bits of byte j of the registers where bit j of the four bytes is 0.
TERN_INLINE void clear_bits(const uint8_t* p, uint8x16_t v[2]) {
    const uint8x16_t bits = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t low = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint8x16_t high = vorrq_u8(low, vdupq_n_u8(2));
    const uint8x16_t four = vreinterpretq_u8_u32(vdupq_n_u32(load_u32(p)));
    v[0] = vceqzq_u8(vandq_u8(vqtbl1q_u8(four, low), bits));
    v[1] = vceqzq_u8(vandq_u8(vqtbl1q_u8(four, high), bits));
}

struct FormatQ8_0 : Halves<0> {
    static constexpr size_t kBytes = 34;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        q[0] = as_signed(load16(p + 2));
        q[1] = as_signed(load16(p + 18));
    }
};

struct FormatQ4_0 : Halves<0> {
    static constexpr size_t kBytes = 18;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        uint8x16_t v[2];
        nibbles32(p + 2, v);
        q[0] = vsubq_s8(as_signed(v[0]), vdupq_n_s8(8));
        q[1] = vsubq_s8(as_signed(v[1]), vdupq_n_s8(8));
    }
};

struct FormatQ4_1 : Halves<0, 2> {
    static constexpr size_t kBytes = 20;
    static constexpr bool kMin = true;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        uint8x16_t v[2];
        nibbles32(p + 4, v);
        q[0] = as_signed(v[0]);
        q[1] = as_signed(v[1]);
    }
};

struct FormatQ5_0 : Halves<0> {
    static constexpr size_t kBytes = 22;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        uint8x16_t v[2], clear[2];
        nibbles32(p + 6, v);
        clear_bits(p + 2, clear);
        // 16 less where the fifth bit is 0: a nibble with all higher bits set.
        q[0] = as_signed(vorrq_u8(v[0], vandq_u8(clear[0], vdupq_n_u8(0xf0))));
        q[1] = as_signed(vorrq_u8(v[1], vandq_u8(clear[1], vdupq_n_u8(0xf0))));
    }
};

struct FormatQ5_1 : Halves<0, 2> {
    static constexpr size_t kBytes = 24;
    static constexpr bool kMin = true;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        uint8x16_t v[2], clear[2];
        nibbles32(p + 8, v);
        clear_bits(p + 4, clear);
        q[0] = as_signed(vorrq_u8(v[0], vbicq_u8(vdupq_n_u8(16), clear[0])));
        q[1] = as_signed(vorrq_u8(v[1], vbicq_u8(vdupq_n_u8(16), clear[1])));
    }
};

struct FormatIQ4_NL : Halves<0> {
    static constexpr size_t kBytes = 18;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        uint8x16_t v[2];
        nibbles32(p + 2, v);
        q[0] = vqtbl1q_s8(iq4_table(), v[0]);
        q[1] = vqtbl1q_s8(iq4_table(), v[1]);
    }
};

struct FormatMXFP4 {
    static constexpr size_t kBytes = 17;
    static constexpr bool kMin = false;
    TERN_INLINE void unpack(const uint8_t* p, int8x16_t q[2]) {
        const int8x16_t doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // E2M1 times 2
        uint8x16_t v[2];
        nibbles32(p + 1, v);
        q[0] = vqtbl1q_s8(doubled, v[0]);
        q[1] = vqtbl1q_s8(doubled, v[1]);
    }
    TERN_INLINE float scale(const uint8_t* p) { return kHalfE8M0[p[0]]; }
    TERN_INLINE float32x4_t four_scales(const uint8_t* const* p) {
        return float32x4_t{scale(p[0]), scale(p[1]), scale(p[2]), scale(p[3])};
    }
};

}  // namespace tern::kernels::neon
