// exp, tanh, erf and the rotary angles against long double.
#include <cmath>

#include "kernels/ref/scalar.h"
#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

using test::ulps;

// A step that is odd and large visits every exponent and both signs.
constexpr std::uint32_t kStep = 1009;

TEST(Exp, WithinOneUnitOfTheLastPlace) {
    double worst = 0;
    float at = 0;
    for (std::uint64_t u = 0; u < 1ull << 32; u += kStep) {
        const float x = ref::from_bits(static_cast<std::uint32_t>(u));
        if (std::isnan(x) || x < -104.0f || x > 0x1.62e43p+6f) continue;
        const double error = ulps(ref::exp(x), std::exp(static_cast<long double>(x)));
        if (error > worst) worst = error, at = x;
    }
    EXPECT_LE(worst, 1.0) << "at " << std::hexfloat << at;
    RecordProperty("max_ulp", std::to_string(worst));
    std::printf("exp: %.4f ulp at %a\n", worst, static_cast<double>(at));
}

TEST(Exp, Limits) {
    const float inf = std::numeric_limits<float>::infinity();
    EXPECT_EQ(ref::exp(0.0f), 1.0f);
    EXPECT_EQ(ref::exp(-0.0f), 1.0f);
    EXPECT_EQ(ref::exp(inf), inf);
    EXPECT_TRUE(test::same_bits(ref::exp(-inf), 0.0f));
    EXPECT_TRUE(std::isnan(ref::exp(std::nanf(""))));
    EXPECT_EQ(ref::exp(89.0f), inf);
    EXPECT_EQ(ref::exp(std::nextafter(0x1.62e43p+6f, 100.0f)), inf);
    EXPECT_TRUE(std::isfinite(ref::exp(0x1.62e42ep+6f)));
    EXPECT_TRUE(test::same_bits(ref::exp(-104.0f), 0.0f));
    EXPECT_EQ(ref::exp(-103.9f), std::numeric_limits<float>::denorm_min());
    EXPECT_TRUE(test::same_bits(ref::exp(-1e30f), 0.0f));
}

TEST(Tanh, WithinTwoUnitsOfTheLastPlace) {
    double worst = 0;
    float at = 0;
    for (std::uint64_t u = 0; u < 1ull << 32; u += kStep) {
        const float x = ref::from_bits(static_cast<std::uint32_t>(u));
        if (std::isnan(x)) continue;
        const double error = ulps(ref::tanh(x), std::tanh(static_cast<long double>(x)));
        if (error > worst) worst = error, at = x;
    }
    EXPECT_LE(worst, 2.0) << "at " << std::hexfloat << at;
    RecordProperty("max_ulp", std::to_string(worst));
    std::printf("tanh: %.4f ulp at %a\n", worst, static_cast<double>(at));
    EXPECT_TRUE(test::same_bits(ref::tanh(-0.0f), 0.0f));  // as docs/numerics.md says
    EXPECT_EQ(ref::tanh(-0x1p-140f), -0x1p-140f);
    EXPECT_EQ(ref::tanh(std::numeric_limits<float>::infinity()), 1.0f);
    EXPECT_EQ(ref::tanh(-100.0f), -1.0f);
    EXPECT_TRUE(std::isnan(ref::tanh(std::nanf(""))));
}

TEST(Erf, WithinTwoUnitsOfTheLastPlace) {
    double worst = 0;
    float at = 0;
    for (std::uint64_t u = 0; u < 1ull << 32; u += kStep) {
        const float x = ref::from_bits(static_cast<std::uint32_t>(u));
        if (std::isnan(x)) continue;
        const double error = ulps(ref::erf(x), std::erf(static_cast<long double>(x)));
        if (error > worst) worst = error, at = x;
    }
    EXPECT_LE(worst, 2.0) << "at " << std::hexfloat << at;
    std::printf("erf: %.4f ulp at %a\n", worst, static_cast<double>(at));
    EXPECT_EQ(ref::erf(std::numeric_limits<float>::infinity()), 1.0f);
    EXPECT_EQ(ref::erf(-5.0f), -1.0f);
    EXPECT_TRUE(std::isnan(ref::erf(std::nanf(""))));
}

// A known tree: with stripes 2^-i no rounding happens, and order shows with values that cancel.
TEST(Tree, AddsInTheFixedOrder) {
    float s[16] = {};
    s[0] = 1e30f, s[8] = -1e30f, s[4] = 1.0f, s[15] = 2.0f;
    EXPECT_EQ(ref::tree(s), 3.0f);
    std::swap(s[8], s[1]);  // 1e30 and -1e30 now meet only in the last step, after 1 and 2 were lost in them
    EXPECT_EQ(ref::tree(s), 0.0f);
}

TEST(RoundEven, TiesToEven) {
    for (float x : {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f, 127.49999f, -127.5f, 0.49999997f})
        EXPECT_EQ(ref::round_even(x), std::nearbyint(x)) << x;
}

TEST(RopeTable, ExactToOneUnitUpToPosition2To24) {
    test::Rng rng(7);
    double worst = 0;
    for (int turn = 0; turn < 200000; ++turn) {
        const double inv_freq = turn % 3 == 0 ? 1.0 : std::ldexp(static_cast<double>(rng() >> 11), -53);
        const double position = static_cast<double>(turn % 5 == 0 ? (1u << 24) - turn : rng() % (1u << 24));
        float c, s;
        rope_table(&inv_freq, 1, position, 1.0f, &c, &s);
        const long double angle = position * inv_freq;  // the product as rounded to double is the definition
        worst = std::max({worst, ulps(c, std::cos(angle)), ulps(s, std::sin(angle))});
    }
    EXPECT_LT(worst, 1.0);
    std::printf("sin, cos: %.4f ulp\n", worst);
}

// Where sin or cos nearly vanish the reduction shows: multiples of pi/2 as close as doubles come.
TEST(RopeTable, NearMultiplesOfHalfPi) {
    double worst = 0;
    for (std::int64_t k = 1; k < (1 << 24) * 2 / 3; k += 997) {
        const double inv_freq = 1.0;
        const double position = static_cast<double>(static_cast<long double>(k) * 1.57079632679489661923132169L);
        float c, s;
        rope_table(&inv_freq, 1, position, 1.0f, &c, &s);
        worst = std::max({worst, ulps(c, std::cos(static_cast<long double>(position))),
                          ulps(s, std::sin(static_cast<long double>(position)))});
    }
    EXPECT_LT(worst, 1.0);
}

TEST(RopeTable, FactorAndQuadrants) {
    const double inv_freq[4] = {0.0, 1.0, 0.5, 0.25};
    float c[4], s[4];
    rope_table(inv_freq, 4, 2.0, 1.25f, c, s);
    for (int i = 0; i < 4; ++i) {
        EXPECT_FLOAT_EQ(c[i], static_cast<float>(1.25 * std::cos(2.0 * inv_freq[i])));
        EXPECT_FLOAT_EQ(s[i], static_cast<float>(1.25 * std::sin(2.0 * inv_freq[i])));
    }
    EXPECT_EQ(c[0], 1.25f);
    EXPECT_EQ(s[0], 0.0f);
}

TEST(RopeInvFreq, PowersOfTheBase) {
    double worst = 0;
    for (double base : {10000.0, 500000.0, 1e6, 5e6, 1.0, 2.0, 1e9})
        for (std::size_t n : {2u, 64u, 80u, 128u, 256u}) {
            std::vector<double> f(n / 2);
            rope_inv_freq(base, n, f.data());
            EXPECT_EQ(f[0], 1.0);
            for (std::size_t i = 0; i < n / 2; ++i) {
                const long double want = std::pow(static_cast<long double>(base), -2.0L * i / n);
                worst = std::max(worst, static_cast<double>(std::fabs(f[i] - want) / want));
            }
        }
    EXPECT_LT(worst, 0x1p-48);
    std::printf("inv_freq: %.3g relative\n", worst);
}

}  // namespace
}  // namespace tern::kernels
