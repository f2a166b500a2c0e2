#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernel.h"
#include "kernels/neon/table.h"

namespace tern::kernels::neon {

static inline float float_of(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

// Of the bits without sign, which are ordered as the magnitudes, NaN above infinity.
template <size_t kCount>
static inline uint32_t largest_magnitude(const float* x) {
    uint32x4_t top[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    for (size_t i = 0; i < kCount; i += 16)
        for (size_t j = 0; j < 4; ++j)
            top[j] = vmaxq_u32(top[j], vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i + 4 * j))));
    return vmaxvq_u32(vmaxq_u32(vmaxq_u32(top[0], top[1]), vmaxq_u32(top[2], top[3])));
}

struct Scale {
    float d;        // of one step; NaN when the input is not finite
    float inverse;  // 0 where every q is 0
};
static inline Scale scale_of(uint32_t largest) {
    if (largest >= 0x7f800000) return {__builtin_nanf(""), 0.0f};
    const float amax = float_of(largest);
    if (amax < 0x1p-100f) return {0.0f, 0.0f};
    return {amax / 127.0f, 127.0f / amax};
}

// |x * inverse| is at most 127 but for two roundings, so it rounds to 127 at most, as the definition clamps it.
static inline int16x8_t quantize8(const float* x, float inverse) {
    const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
}
static inline int8x16_t quantize16(const float* x, float inverse) {
    return vuzp1q_s8(vreinterpretq_s8_s16(quantize8(x, inverse)), vreinterpretq_s8_s16(quantize8(x + 8, inverse)));
}

// Sums over 4 of 16 values, as two neighbours of 8 each.
static inline int16x8_t sums_of_four(const int8_t* q) {
    return vpaddq_s16(vpaddlq_s8(vld1q_s8(q)), vpaddlq_s8(vld1q_s8(q + 16)));
}
// Sums over 16 of 128 values.
static inline int16x8_t sums_of_sixteen(const int8_t* q) {
    return vpaddq_s16(vpaddq_s16(sums_of_four(q), sums_of_four(q + 32)),
                      vpaddq_s16(sums_of_four(q + 64), sums_of_four(q + 96)));
}

static void quantize_q8_256(const float* x, size_t k, ActBlock* out, size_t stride) {
    for (; k >= 256; k -= 256, x += 256, out += stride) {
        const Scale scale = scale_of(largest_magnitude<256>(x));
        out->k.d = scale.d;
        if (scale.inverse == 0.0f) {
            __builtin_memset(out->q, 0, sizeof out->q);
        } else {
            for (size_t i = 0; i < 256; i += 16) vst1q_s8(out->q + i, quantize16(x + i, scale.inverse));
        }
        const int16x8_t low = sums_of_sixteen(out->q), high = sums_of_sixteen(out->q + 128);
        vst1q_s16(out->k.sum16, low);
        vst1q_s16(out->k.sum16 + 8, high);
        vst1q_s16(out->k.sum32, vpaddq_s16(low, high));
    }
}

static void quantize_q8_32(const float* x, size_t k, ActBlock* out, size_t stride) {
    for (; k > 0; out += stride) {
        const size_t n = k < 256 ? k : 256;
        __builtin_memset(out, 0, sizeof *out);
        for (size_t i = 0; i < n; i += 32) {
            const Scale scale = scale_of(largest_magnitude<32>(x + i));
            out->b.d[i / 32] = scale.d;
            if (scale.inverse == 0.0f) continue;
            vst1q_s8(out->q + i, quantize16(x + i, scale.inverse));
            vst1q_s8(out->q + i + 16, quantize16(x + i + 16, scale.inverse));
        }
        vst1q_s16(out->b.sum, vpaddq_s16(sums_of_sixteen(out->q), sums_of_sixteen(out->q + 128)));
        x += n;
        k -= n;
    }
}

void fill_quantize(KernelTable& table) noexcept {
    table.quantize_q8_256 = quantize_q8_256;
    table.quantize_q8_32 = quantize_q8_32;
}

}  // namespace tern::kernels::neon
