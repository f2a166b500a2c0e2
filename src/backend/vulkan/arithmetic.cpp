#include "backend/vulkan/arithmetic.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <random>
#include <vector>

#include "backend/vulkan/device.h"
#include "kernels/formats/half.h"
#include "kernels/ref/scalar.h"

namespace tern::backend::vulkan {
namespace {

// Of shaders/ops/arithmetic.comp, in its order.
enum Result { kFused, kSeparate, kDivision, kRoot, kQuotient, kRootOf, kExp, kHalf, kResults };
using Three = std::array<float, 3>;

bool subnormal(float x) {
    return std::fpclassify(x) == FP_SUBNORMAL;
}

bool same(float a, float b) {
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
           (std::isnan(a) && std::isnan(b));
}

std::vector<Three> cases() {
    std::vector<Three> all;
    std::mt19937 random(1);
    const auto number = [&](std::uint32_t exponents) {
        const auto bits = static_cast<std::uint32_t>(random());
        const std::uint32_t exponent = 127 - exponents / 2 + static_cast<std::uint32_t>(random() % exponents);
        return std::bit_cast<float>((bits & 0x807fffffu) | exponent << 23);
    };
    for (int i = 0; i < 4096; ++i) {
        const float a = number(40), b = number(40);
        // What a fused product leaves of a rounded one, or an argument of exp.
        all.push_back({a, b, i % 2 ? -(a * b) : std::uniform_real_distribution<float>(-110, 110)(random)});
        const float x = number(253), y = number(253), z = number(253);
        all.push_back({x, y, z});
    }
    // The hardest quotients: next to powers of two.
    for (std::uint32_t i = 0; i < 64; ++i)
        for (const std::uint32_t j : {0u, 1u, 0x7ffffeu, 0x7fffffu})
            all.push_back(
                {std::bit_cast<float>(0x3f800000u + i), std::bit_cast<float>(0x3f800000u | j), 0.5f});
    const float kSpecial[] = {0.0f, -0.0f,         1.0f,           -3.0f,  INFINITY, -INFINITY,
                              NAN,  3.4028235e38f, 1.1754944e-38f, 1e-40f, -1e-45f};
    for (const float a : kSpecial)
        for (const float b : kSpecial)
            for (const float c : kSpecial) all.push_back({a, b, c});
    return all;
}

std::array<float, kResults> expected(const Three& x) {
    const auto [a, b, c] = x;
    std::array<float, kResults> y{};
    y[kFused] = std::fma(a, b, c);
    y[kSeparate] = a * b + c;
    y[kDivision] = y[kQuotient] = a / b;
    y[kRoot] = y[kRootOf] = std::sqrt(std::fabs(a));
    y[kExp] = kernels::ref::exp(c);
    y[kHalf] = kernels::f16_to_f32(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(a)));
    return y;
}

// Whether a number on the way may be flushed.
bool flushes(const Three& x, const std::array<float, kResults>& y, int result) {
    const auto [a, b, c] = x;
    switch (result) {
        case kFused:
            return subnormal(a) || subnormal(b) || subnormal(c) || subnormal(y[kFused]);
        case kSeparate:
            return subnormal(a) || subnormal(b) || subnormal(c) || subnormal(a * b) ||
                   subnormal(y[kSeparate]);
        case kDivision:
        case kQuotient:
            return subnormal(a) || subnormal(b) || subnormal(y[kDivision]);
        case kRoot:
        case kRootOf:
            return subnormal(a);
        case kExp:
            return subnormal(y[kExp]);
        default:
            return false;  // halves below 2^-14 are no small f32
    }
}

Arithmetic try_shader(Device& device, const char* shader) {
    const std::vector<Three> in = cases();
    const auto n = static_cast<std::uint32_t>(in.size());
    const Buffer x = device.allocate(n * sizeof(Three), Memory::host, "a test of arithmetic"),
                 y = device.allocate(n * kResults * sizeof(float), Memory::host, "a test of arithmetic");
    std::memcpy(x.host(), in.data(), n * sizeof(Three));
    const Device::Pipeline& pipeline = device.pipeline(shader, 3, 0, {});
    device.dispatch(pipeline, {x.range(), x.range(), y.range()}, n, (n + 63) / 64);
    bool right[kResults], tiny[kResults];
    std::fill(std::begin(right), std::end(right), true);
    std::fill(std::begin(tiny), std::end(tiny), true);
    const auto* got = reinterpret_cast<const float*>(y.host());
    for (std::uint32_t i = 0; i < n; ++i) {
        const std::array<float, kResults> want = expected(in[i]);
        for (int r = 0; r < kResults; ++r)
            if (!same(got[i * kResults + static_cast<std::uint32_t>(r)], want[static_cast<std::size_t>(r)]))
                (flushes(in[i], want, r) ? tiny : right)[r] = false;
    }
    Arithmetic a;
    a.divides = right[kDivision];
    a.roots = right[kRoot];
    const int quotient = a.divides ? kDivision : kQuotient, root = a.roots ? kRoot : kRootOf;
    a.why = !right[kFused]      ? "fma is not fused"
            : !right[kSeparate] ? "sums and products are not rounded one by one"
            : !right[kQuotient] ? "division cannot be made exact"
            : !right[kRootOf]   ? "the square root cannot be made exact"
            : !right[kExp]      ? "exp differs"
            : !right[kHalf]     ? "half-precision numbers are not widened exactly"
                                : "";
    a.exact = a.why.empty();
    a.subnormals = a.exact && tiny[kFused] && tiny[kSeparate] && tiny[quotient] && tiny[root] && tiny[kExp];
    return a;
}

}  // namespace

Arithmetic try_arithmetic(Device& device) {
    const std::lock_guard lock(device.mutex());
    const Arithmetic own = try_shader(device, "arithmetic");
    if (own.exact || !device.info().software || !device.info().fp64) return own;
    Arithmetic a = try_shader(device, "arithmetic+doubles");
    a.doubles = a.exact;
    return a.exact ? a : own;
}

}  // namespace tern::backend::vulkan
