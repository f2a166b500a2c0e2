#include "kernels/formats/half.h"

#include <bit>

namespace tern::kernels {
namespace {

inline float widen_f16(std::uint16_t h) noexcept {
    const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
    const std::uint32_t exponent = (h >> 10) & 31u;
    const std::uint32_t fraction = h & 0x3ffu;
    std::uint32_t bits = 0;
    if (exponent == 31) {
        bits = 0x7f800000u | (fraction << 13) | (fraction != 0 ? 0x00400000u : 0u);
    } else if (exponent != 0) {
        bits = ((exponent + (127 - 15)) << 23) | (fraction << 13);
    } else if (fraction != 0) {
        // A subnormal is fraction * 2^-24: move its leading bit to the hidden place.
        const auto shift = static_cast<std::uint32_t>(std::countl_zero(fraction)) - 21u;  // 1 … 10
        bits = ((127u - 14u - shift) << 23) | (((fraction << shift) & 0x3ffu) << 13);
    }
    return std::bit_cast<float>(sign | bits);
}

inline std::uint16_t narrow_f16(float f) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(f);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    std::uint32_t half = 0;
    if (magnitude > 0x7f800000u) {
        half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
        half = 0x7c00u;
    } else if (magnitude >= 0x38800000u) {  // normal: 2^-14 and above
        const std::uint32_t odd = (magnitude >> 13) & 1u;
        half = (magnitude - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
    } else if (magnitude > 0x33000000u) {  // above 2^-25, the tie with zero
        // Align the significand so that its last kept bit is worth 2^-24, and round on what falls off.
        const std::uint32_t shift = 126u - (magnitude >> 23);  // 14 … 24
        const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
        const std::uint32_t odd = (significand >> shift) & 1u;
        half = (significand + (1u << (shift - 1)) - 1u + odd) >> shift;
    }
    return static_cast<std::uint16_t>(sign | half);
}

constexpr float half_e8m0(std::uint32_t e) {
    return std::bit_cast<float>(e == 255 ? 0x7fc00000u : e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

#define TERN_E8M0_4(e) half_e8m0(e), half_e8m0((e) + 1), half_e8m0((e) + 2), half_e8m0((e) + 3)
#define TERN_E8M0_16(e) TERN_E8M0_4(e), TERN_E8M0_4((e) + 4), TERN_E8M0_4((e) + 8), TERN_E8M0_4((e) + 12)
#define TERN_E8M0_64(e) \
    TERN_E8M0_16(e), TERN_E8M0_16((e) + 16), TERN_E8M0_16((e) + 32), TERN_E8M0_16((e) + 48)

}  // namespace

constexpr float kHalfE8M0[256] = {TERN_E8M0_64(0), TERN_E8M0_64(64), TERN_E8M0_64(128), TERN_E8M0_64(192)};

float f16_to_f32(std::uint16_t h) noexcept {
    return widen_f16(h);
}
std::uint16_t f32_to_f16(float f) noexcept {
    return narrow_f16(f);
}

void f16_to_f32(const std::uint16_t* h, float* f, std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) f[i] = widen_f16(h[i]);
}

void f32_to_f16(const float* f, std::uint16_t* h, std::size_t n) noexcept {
    for (std::size_t i = 0; i < n; ++i) h[i] = narrow_f16(f[i]);
}

float bf16_to_f32(std::uint16_t h) noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16);
}

std::uint16_t f32_to_bf16(float f) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace tern::kernels
