#include "kernels/formats/encode.h"

#include <cmath>
#include <limits>

#include "kernels/formats/half.h"

namespace tern::kernels {

float finite_or_zero(float x) noexcept {
    return std::isfinite(x) ? x : 0.0f;
}

void take_sample(const float* x, const float* importance, std::size_t n, Sample& sample) {
    sample.amax = 0.0f;
    sample.extreme = 0.0f;
    sample.exponent = 0;
    for (std::size_t i = 0; i < n; ++i) {
        sample.x[i] = finite_or_zero(x[i]);
        if (std::fabs(sample.x[i]) > sample.amax) {
            sample.amax = std::fabs(sample.x[i]);
            sample.extreme = sample.x[i];
        }
    }
    if (sample.amax > 0.0f) {
        std::frexp(sample.amax, &sample.exponent);
        for (std::size_t i = 0; i < n; ++i) sample.x[i] = std::ldexp(sample.x[i], -sample.exponent);
        sample.extreme = std::ldexp(sample.extreme, -sample.exponent);
    }

    float most = 0.0f;
    if (importance != nullptr) {
        for (std::size_t i = 0; i < n; ++i) {
            const float w = importance[i] < std::numeric_limits<float>::max()
                                ? importance[i]
                                : std::numeric_limits<float>::max();
            sample.w[i] = w > 0.0f ? w : 0.0f;
            most = sample.w[i] > most ? sample.w[i] : most;
        }
    }
    constexpr float kFloor = 0x1p-20f;
    for (std::size_t i = 0; i < n; ++i) {
        const float w = most > 0.0f ? sample.w[i] / most : 1.0f;
        sample.w[i] = w > kFloor ? w : kFloor;
    }
}

float store_scale(float scale, int exponent, std::uint16_t& stored) {
    constexpr std::uint16_t kLargest = 0x7bff, kSmallest = 0x0001, kSign = 0x8000, kInfinity = 0x7c00;
    stored = f32_to_f16(std::ldexp(scale, exponent));
    const auto sign = static_cast<std::uint16_t>(stored & kSign);
    if ((stored & kInfinity) == kInfinity) stored = static_cast<std::uint16_t>(sign | kLargest);
    if (scale == 0.0f)
        stored = 0;
    else if (stored == sign)
        stored = static_cast<std::uint16_t>(sign | kSmallest);
    return std::ldexp(f16_to_f32(stored), -exponent);
}

}  // namespace tern::kernels
