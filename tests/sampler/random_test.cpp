#include "sampler/random.h"

#include <gtest/gtest.h>

namespace tern::sampler {
namespace {

// The sequences that the authors' C programs (prng.di.unimi.it) print for these states.
TEST(Random, SplitMix64MatchesTheAuthorsProgram) {
    SplitMix64 r(1234567);
    EXPECT_EQ(r.next(), 6457827717110365317u);
    EXPECT_EQ(r.next(), 3203168211198807973u);
    EXPECT_EQ(r.next(), 9817491932198370423u);
    EXPECT_EQ(r.next(), 4593380528125082431u);
    EXPECT_EQ(r.next(), 16408922859458223821u);
}

TEST(Random, Xoshiro256MatchesTheAuthorsProgram) {
    Xoshiro256 r(1, 2, 3, 4);
    EXPECT_EQ(r.next(), 11520u);
    EXPECT_EQ(r.next(), 0u);
    EXPECT_EQ(r.next(), 1509978240u);
    EXPECT_EQ(r.next(), 1215971899390074240u);
    EXPECT_EQ(r.next(), 1216172134540287360u);
}

TEST(Random, UniformIsEvenAndBelowOne) {
    Xoshiro256 r(7);
    double sum = 0;
    int bins[16] = {};
    constexpr int n = 160000;
    for (int i = 0; i < n; ++i) {
        const double u = r.uniform();
        ASSERT_GE(u, 0.0);
        ASSERT_LT(u, 1.0);
        ASSERT_EQ(u * 0x1p53, static_cast<double>(static_cast<std::uint64_t>(u * 0x1p53)));
        sum += u;
        ++bins[static_cast<int>(u * 16)];
    }
    EXPECT_NEAR(sum / n, 0.5, 0.004);  // 5.5 standard deviations
    double chi2 = 0;
    for (const int b : bins) chi2 += (b - n / 16.0) * (b - n / 16.0) / (n / 16.0);
    EXPECT_LT(chi2, 37.7);  // 15 degrees of freedom, 0.1 %
}

}  // namespace
}  // namespace tern::sampler
