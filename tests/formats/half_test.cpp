#include "kernels/formats/half.h"

#include <gtest/gtest.h>

#include <limits>

#include "format_list.h"

namespace tern::kernels {
namespace {

using test::bits;

// By the definition of binary16, in double, which holds every value exactly.
double value_of_f16(unsigned h) {
    const int exponent = static_cast<int>((h >> 10) & 31u);
    const int fraction = static_cast<int>(h & 1023u);
    const double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                             : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                              : std::ldexp(1024 + fraction, exponent - 25);
    return (h & 0x8000u) != 0 ? -magnitude : magnitude;
}

TEST(Half, EveryF16WidensToItsValue) {
    for (unsigned h = 0; h < 65536; ++h) {
        const float f = f16_to_f32(static_cast<std::uint16_t>(h));
        const double want = value_of_f16(h);
        ASSERT_EQ(std::isnan(f), std::isnan(want)) << h;
        if (!std::isnan(want)) {
            ASSERT_EQ(f, want) << h;
        }
        ASSERT_EQ(std::signbit(f), (h & 0x8000u) != 0) << h;
    }
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
    for (unsigned h = 0; h < 65536; ++h) {
        const auto half = static_cast<std::uint16_t>(h);
        const bool signalling = (h & 0x7c00u) == 0x7c00u && (h & 0x3ffu) != 0;
        ASSERT_EQ(f32_to_f16(f16_to_f32(half)), signalling ? h | 0x200u : h);
    }
}

TEST(Half, NarrowingRoundsToNearestEven) {
    // Between neighbours: below, on and above the middle, for both signs, subnormals and the step to
    // infinity.
    for (unsigned h = 0; h < 0x7c00; ++h) {
        const double low = value_of_f16(h);
        const double high = h == 0x7bff ? 65536.0 : value_of_f16(h + 1);
        const auto middle = static_cast<float>(0.5 * (low + high));  // 12 bits: exact
        const unsigned even = (h & 1u) == 0 ? h : h + 1;
        ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), h);
        ASSERT_EQ(f32_to_f16(middle), even);
        ASSERT_EQ(f32_to_f16(std::nextafter(middle, INFINITY)), h + 1);
        ASSERT_EQ(f32_to_f16(-middle), even | 0x8000u);
    }
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), 0x7c00u);
    EXPECT_EQ(f32_to_f16(-std::numeric_limits<float>::infinity()), 0xfc00u);
    EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::denorm_min()), 0u);
    EXPECT_EQ(f32_to_f16(-0.0f), 0x8000u);
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(std::bit_cast<float>(0x7f800001u)))));
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(std::bit_cast<float>(0xffffffffu)))));
}

TEST(Half, ArraysAreElementwise) {
    std::vector<std::uint16_t> halves(65536);
    for (unsigned h = 0; h < 65536; ++h) halves[h] = static_cast<std::uint16_t>(h);
    std::vector<float> wide(halves.size());
    f16_to_f32(halves.data(), wide.data(), wide.size());
    std::vector<std::uint16_t> back(halves.size());
    f32_to_f16(wide.data(), back.data(), back.size());
    for (std::size_t i = 0; i < wide.size(); ++i) {
        ASSERT_EQ(bits(wide[i]), bits(f16_to_f32(halves[i])));
        ASSERT_EQ(back[i], f32_to_f16(wide[i]));
    }
    f16_to_f32(nullptr, static_cast<float*>(nullptr), 0);
    f32_to_f16(static_cast<const float*>(nullptr), nullptr, 0);
}

TEST(Half, Bf16IsTheUpperHalf) {
    for (unsigned h = 0; h < 65536; ++h) {
        const float f = bf16_to_f32(static_cast<std::uint16_t>(h));
        ASSERT_EQ(bits(f), h << 16);
        ASSERT_EQ(f32_to_bf16(f), std::isnan(f) ? h | 0x40u : h);
        if ((h & 0x7f80u) == 0x7f80u) continue;
        // Just below, on and above the middle to the next magnitude.
        ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(h << 16 | 0x7fffu)), h);
        ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(h << 16 | 0x8000u)), h + (h & 1u));
        ASSERT_EQ(f32_to_bf16(std::bit_cast<float>(h << 16 | 0x8001u)), h + 1);
    }
    // A NaN whose payload lies in the lower half only must not become an infinity.
    EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Half, E8M0HalvesArePowersOfTwo) {
    for (int e = 0; e < 255; ++e) EXPECT_EQ(kHalfE8M0[e], std::ldexp(1.0, e - 128)) << e;
    EXPECT_TRUE(std::isnan(kHalfE8M0[255]));
}

}  // namespace
}  // namespace tern::kernels
