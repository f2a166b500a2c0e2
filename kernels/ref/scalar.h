// Scalar building blocks of the reference: docs/numerics.md, "Elementary functions" and "Sums".
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/formats/half.h"

namespace tern::kernels::ref {

inline constexpr std::size_t kStripes = 16;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline std::uint32_t bits_of(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}
inline float from_bits(std::uint32_t u) {
    float x;
    std::memcpy(&x, &u, sizeof x);
    return x;
}

// Round to the nearest integer, ties to even; |x| < 2^22. Adding 1.5 * 2^23 leaves no fraction bits.
inline float round_even(float x) { return (x + 12582912.0f) - 12582912.0f; }

// The larger one, never -0, so that the choice between +0 and -0 cannot show.
inline float max_plus_zero(float a, float b) { return (a > b ? a : b) + 0.0f; }

inline float load_f16(const std::uint8_t* p) {
    std::uint16_t h;
    std::memcpy(&h, p, sizeof h);
    return f16_to_f32(h);
}
inline float load_bf16(const std::uint8_t* p) {
    std::uint16_t h;
    std::memcpy(&h, p, sizeof h);
    return bf16_to_f32(h);
}
inline float load_f32(const std::uint8_t* p) {
    float x;
    std::memcpy(&x, p, sizeof x);
    return x;
}

inline float exp(float x) {
    if (!(x >= -104.0f)) return x < -104.0f ? 0.0f : x;  // NaN stays
    if (x > 0x1.62e43p+6f) return kInfinity;              // 88.72284
    const float n = round_even(x * 0x1.715476p+0f);
    float r = std::fma(-n, 0x1.62e4p-1f, x);
    r = std::fma(-n, 0x1.7f7d1cp-20f, r);
    float p = 0x1.6a2434p-10f;
    p = std::fma(p, r, 0x1.1239e2p-7f);
    p = std::fma(p, r, 0x1.5558f2p-5f);
    p = std::fma(p, r, 0x1.555492p-3f);
    p = std::fma(p, r, 0x1.fffffcp-2f);
    p = std::fma(p, r, 1.0f);
    p = std::fma(p, r, 1.0f);
    const int e = static_cast<int>(n);
    const int half = e >> 1;
    const float a = from_bits(static_cast<std::uint32_t>(half + 127) << 23);
    const float b = from_bits(static_cast<std::uint32_t>(e - half + 127) << 23);
    return p * a * b;
}

inline float tanh(float x) {
    const float a = std::fabs(x);
    if (a < 0.625f) {
        const float z = x * x;
        float p = -0x1.75e1ccp-8f;
        p = std::fma(p, z, 0x1.52269cp-6f);
        p = std::fma(p, z, -0x1.b83c5ap-5f);
        p = std::fma(p, z, 0x1.110726p-3f);
        p = std::fma(p, z, -0x1.555532p-2f);
        return std::fma(x * z, p, x);
    }
    const float y = 1.0f - 2.0f / (ref::exp(a + a) + 1.0f);
    return std::copysign(y, x);
}

// Within 1.0: x + x * Q(x^2); beyond: 1 - exp(-T(|x|)) with T = -ln(1 - erf). The polynomials interpolate at the
// Chebyshev points of [0, 1] and [1, 4]; beyond 4 the result is 1.
inline float erf(float x) {
    const float a = std::fabs(x);
    if (a < 1.0f) {
        const float z = x * x;
        float p = 0x1.4a5690p-14f;
        p = std::fma(p, z, -0x1.a45088p-11f);
        p = std::fma(p, z, 0x1.541270p-8f);
        p = std::fma(p, z, -0x1.b7fabap-6f);
        p = std::fma(p, z, 0x1.ce2d10p-4f);
        p = std::fma(p, z, -0x1.81273ep-2f);
        p = std::fma(p, z, 0x1.06eba8p-3f);
        return std::fma(x, p, x);
    }
    const float b = 4.0f < a ? 4.0f : a;
    float t = -0x1.b77830p-20f;
    t = std::fma(t, b, 0x1.825ce4p-15f);
    t = std::fma(t, b, -0x1.38e5e6p-11f);
    t = std::fma(t, b, 0x1.37ecc6p-8f);
    t = std::fma(t, b, -0x1.b0e246p-6f);
    t = std::fma(t, b, 0x1.c2e356p-4f);
    t = std::fma(t, b, 0x1.437eb4p-1f);
    t = std::fma(t, b, 0x1.2156fap+0f);
    t = std::fma(t, b, -0x1.4fb068p-12f);
    return std::copysign(1.0f - ref::exp(-t), x);
}

// -2 sqrt(2 / pi), and that times 0.044715.
inline constexpr float kGeluLinear = -0x1.988454p+0f;
inline constexpr float kGeluCubic = -0x1.2444f2p-4f;

// The tree over 16 striped partial sums.
inline float tree(const float* stripes) {
    float s[kStripes];
    std::memcpy(s, stripes, sizeof s);
    for (std::size_t width = kStripes / 2; width > 0; width /= 2)
        for (std::size_t i = 0; i < width; ++i) s[i] += s[i + width];
    return s[0];
}

}  // namespace tern::kernels::ref
