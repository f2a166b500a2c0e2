// Elementwise operations, norms, softmax and rope: every instruction set against the reference bit by bit, and the
// reference against double.
#include "tests/kernels/kernel_test.h"

namespace tern::kernels {
namespace {

using namespace test;

const std::size_t kLengths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 300, 1000, 2048};

constexpr Activation kActivations[] = {Activation::silu,         Activation::gelu,    Activation::gelu_erf,
                                       Activation::relu_squared, Activation::sigmoid, Activation::clamped_silu};
const char* name(Activation f) {
    const char* names[] = {"silu", "gelu", "gelu_erf", "relu_squared", "sigmoid", "clamped_silu"};
    return names[static_cast<int>(f)];
}

class Elementwise : public PerIsa {
protected:
    // Runs f(table, output) for both tables on outputs that start with the same content.
    template <class F>
    void compare(std::size_t n, Rng& rng, F f, const char* what) {
        Floats want = random_floats(n, Values::usual, rng);
        Floats got(want);
        f(ref_, want);
        f(table_, got);
        EXPECT_TRUE(same(got, want)) << what << " n=" << n;
    }
};

TEST_P(Elementwise, EqualsTheReference) {
    Rng rng(1);
    for (Values kind : kAllValues)
        for (std::size_t n : kLengths) {
            const Floats a = random_floats(n, kind, rng);
            const Floats b = random_floats(n, kind, rng);
            const float s = random_float(kind, rng);
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.add(a.data(), b.data(), o.data(), n); }, "add");
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.mul(a.data(), b.data(), o.data(), n); }, "mul");
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.scale(a.data(), s, o.data(), n); }, "scale");
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.add_scaled(a.data(), s, o.data(), n); },
                    "add_scaled");
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.softcap(a.data(), 2.5f, o.data(), n); }, "softcap");
            for (const Activation f : kActivations) {
                compare(n, rng, [&](const KernelTable& t, Floats& o) { t.activate(f, a.data(), o.data(), n); }, name(f));
                compare(n, rng, [&](const KernelTable& t, Floats& o) { t.gated(f, a.data(), b.data(), o.data(), n); },
                        name(f));
            }
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.softmax(a.data(), o.data(), n); }, "softmax");
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.rms_norm(a.data(), b.data(), o.data(), n, 1e-5f); },
                    "rms_norm");
            compare(n, rng, [&](const KernelTable& t, Floats& o) { t.rms_norm(a.data(), nullptr, o.data(), n, 1e-6f); },
                    "rms_norm without weight");
            for (int use = 0; use < 4; ++use)
                compare(n, rng,
                        [&](const KernelTable& t, Floats& o) {
                            t.layer_norm(a.data(), use & 1 ? b.data() : nullptr, use & 2 ? a.data() : nullptr,
                                         o.data(), n, 1e-5f);
                        },
                        "layer_norm");
        }
}

TEST_P(Elementwise, InPlace) {
    Rng rng(2);
    for (std::size_t n : kLengths) {
        const Floats a = random_floats(n, Values::usual, rng);
        const Floats b = random_floats(n, Values::usual, rng);
        auto in_place = [&](auto f, const char* what) {
            Floats want(n), got(a);
            f(ref_, a.data(), want.data());
            f(table_, got.data(), got.data());
            EXPECT_TRUE(same(got, want)) << what << " n=" << n;
            Floats scalar(a);
            f(ref_, scalar.data(), scalar.data());
            EXPECT_TRUE(same(scalar, want)) << "scalar " << what << " n=" << n;
        };
        in_place([&](auto& t, const float* x, float* y) { t.add(x, b.data(), y, n); }, "add");
        in_place([&](auto& t, const float* x, float* y) { t.add(b.data(), x, y, n); }, "add, second");
        in_place([&](auto& t, const float* x, float* y) { t.mul(x, b.data(), y, n); }, "mul");
        in_place([&](auto& t, const float* x, float* y) { t.scale(x, 0.3f, y, n); }, "scale");
        in_place([&](auto& t, const float* x, float* y) { t.softcap(x, 0.7f, y, n); }, "softcap");
        for (const Activation f : kActivations) {
            in_place([&](auto& t, const float* x, float* y) { t.activate(f, x, y, n); }, name(f));
            in_place([&](auto& t, const float* x, float* y) { t.gated(f, x, b.data(), y, n); }, name(f));
            in_place([&](auto& t, const float* x, float* y) { t.gated(f, b.data(), x, y, n); }, name(f));
        }
        in_place([&](auto& t, const float* x, float* y) { t.softmax(x, y, n); }, "softmax");
        in_place([&](auto& t, const float* x, float* y) { t.rms_norm(x, b.data(), y, n, 1e-5f); }, "rms_norm");
        in_place([&](auto& t, const float* x, float* y) { t.layer_norm(x, b.data(), b.data(), y, n, 1e-5f); },
                 "layer_norm");
    }
}

// exp, erf and tanh, through what uses them, over a dense sample of all floats, infinities and NaN included.
TEST_P(Elementwise, FunctionsEqualTheReferenceEverywhere) {
    constexpr std::size_t kBatch = 4096;
    std::vector<float> x(kBatch), want(kBatch), got(kBatch);
    std::size_t n = 0;
    auto flush = [&] {
        for (const Activation f : kActivations) {
            ref_.gated(f, x.data(), x.data(), want.data(), n);
            table_.gated(f, x.data(), x.data(), got.data(), n);
            ASSERT_TRUE(same(got.data(), want.data(), n)) << name(f);
            ref_.activate(f, x.data(), want.data(), n);
            table_.activate(f, x.data(), got.data(), n);
            ASSERT_TRUE(same(got.data(), want.data(), n)) << name(f);
        }
        ref_.softcap(x.data(), 1.0f, want.data(), n);
        table_.softcap(x.data(), 1.0f, got.data(), n);
        ASSERT_TRUE(same(got.data(), want.data(), n));
        n = 0;
    };
    for (std::uint64_t u = 0; u < 1ull << 32; u += 1009) {
        const auto bits = static_cast<std::uint32_t>(u);
        std::memcpy(&x[n], &bits, sizeof bits);
        if (++n == kBatch) flush();
    }
    flush();
}

TEST_P(Elementwise, NotFiniteInputDoesNotHarm) {
    const float inf = std::numeric_limits<float>::infinity();
    const float nan = std::nanf("");
    for (float bad : {inf, -inf, nan})
        for (std::size_t n : {1u, 5u, 16u, 33u})
            for (std::size_t at = 0; at < n; at += 4) {
                Floats x(n), want(n), got(n);
                for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i) * 0.25f - 1.0f;
                x[at] = bad;
                ref_.softmax(x.data(), want.data(), n);
                table_.softmax(x.data(), got.data(), n);
                EXPECT_TRUE(same(got, want)) << bad << " n=" << n << " at=" << at;
                ref_.rms_norm(x.data(), nullptr, want.data(), n, 1e-5f);
                table_.rms_norm(x.data(), nullptr, got.data(), n, 1e-5f);
                EXPECT_TRUE(same(got, want));
                for (const Activation f : kActivations) {
                    ref_.gated(f, x.data(), x.data(), want.data(), n);
                    table_.gated(f, x.data(), x.data(), got.data(), n);
                    EXPECT_TRUE(same(got, want)) << name(f);
                }
            }
}

TEST_P(Elementwise, Rope) {
    Rng rng(3);
    for (RopeMode mode : {RopeMode::adjacent, RopeMode::halves})
        for (Values kind : kAllValues)
            for (std::size_t head_dim : {2u, 6u, 16u, 30u, 34u, 64u, 80u, 100u, 128u})
                for (std::size_t n_rot : {head_dim, head_dim / 2 / 2 * 2, std::size_t{2}}) {
                    if (n_rot == 0 || n_rot > head_dim) continue;
                    const std::size_t heads = 3;
                    const Floats c = random_floats(n_rot / 2, kind, rng);
                    const Floats s = random_floats(n_rot / 2, kind, rng);
                    Floats want = random_floats(heads * head_dim, kind, rng);
                    Floats got(want);
                    const Floats before(want);
                    ref_.rope(want.data(), heads, head_dim, n_rot, c.data(), s.data(), mode);
                    table_.rope(got.data(), heads, head_dim, n_rot, c.data(), s.data(), mode);
                    EXPECT_TRUE(same(got, want)) << "head_dim=" << head_dim << " n_rot=" << n_rot;
                    for (std::size_t h = 0; h < heads; ++h)
                        EXPECT_TRUE(same(got.data() + h * head_dim + n_rot, before.data() + h * head_dim + n_rot,
                                         head_dim - n_rot))
                            << "touched what is not rotated";
                }
}
TERN_FOR_FAST_ISAS(Elementwise);

// ---- the reference against double; unit roundoff u = 2^-24 --------------------------------------------------------
constexpr double kU = 0x1p-24;

TEST(ReferenceNorm, Rms) {
    Rng rng(4);
    for (std::size_t n : kLengths) {
        const Floats x = random_floats(n, Values::usual, rng);
        const Floats w = random_floats(n, Values::usual, rng);
        Floats y(n);
        table_ref().rms_norm(x.data(), w.data(), y.data(), n, 1e-5f);
        double sum = 0;
        for (float v : x) sum += static_cast<double>(v) * v;
        const double inverse = 1 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(1e-5f));
        // All terms are positive: the sum's relative error is at most (n/16 + 1 + 4) u, halved by the root; then the
        // division, the addition of eps, the root, the reciprocal and two products, each u.
        const double bound = ((static_cast<double>(n) / 16 + 5 + 2) / 2 + 4) * kU * 1.01;
        for (std::size_t i = 0; i < n; ++i) {
            const double want = x[i] * inverse * w[i];
            EXPECT_LE(std::fabs(y[i] - want), std::fabs(want) * bound + 1e-44) << "n=" << n << " i=" << i;
        }
    }
}

TEST(ReferenceNorm, Layer) {
    Rng rng(5);
    for (std::size_t n : kLengths) {
        if (n < 4) continue;
        const Floats x = random_floats(n, Values::usual, rng);
        const Floats w = random_floats(n, Values::usual, rng);
        const Floats b = random_floats(n, Values::usual, rng);
        Floats y(n);
        table_ref().layer_norm(x.data(), w.data(), b.data(), y.data(), n, 1e-5f);
        double mean = 0, variance = 0, largest = 0;
        for (float v : x) mean += v, largest = std::max<double>(largest, std::fabs(v));
        mean /= static_cast<double>(n);
        for (float v : x) variance += (v - mean) * (v - mean);
        variance /= static_cast<double>(n);
        const double inverse = 1 / std::sqrt(variance + static_cast<double>(1e-5f));
        const double terms = static_cast<double>(n) / 16 + 6;
        // The mean is wrong by at most terms u max|x|, which moves every centred value by that much; the variance
        // moves by its square and by the sum's own terms + 3 roundings.
        const double mean_error = terms * kU * largest;
        const double relative = ((terms + 4) / 2 + 6) * kU + mean_error * mean_error / variance;
        for (std::size_t i = 0; i < n; ++i) {
            const double scaled = (x[i] - mean) * inverse * w[i];
            const double bound = std::fabs(scaled) * relative + std::fabs(inverse * w[i]) * mean_error * 1.01 +
                                 std::fabs(scaled + b[i]) * kU;
            EXPECT_LE(std::fabs(y[i] - (scaled + b[i])), bound * 1.01) << "n=" << n << " i=" << i;
        }
    }
}

TEST(ReferenceNorm, ConstantRowsAndZeros) {
    Floats x(40), y(40);
    for (std::size_t i = 0; i < 40; ++i) x[i] = 3.0f;
    table_ref().layer_norm(x.data(), nullptr, nullptr, y.data(), 40, 1e-5f);
    for (float v : y) EXPECT_EQ(v, 0.0f);
    for (std::size_t i = 0; i < 40; ++i) x[i] = 0.0f;
    table_ref().rms_norm(x.data(), nullptr, y.data(), 40, 1e-5f);
    for (float v : y) EXPECT_EQ(v, 0.0f);
}

TEST(ReferenceSoftmax, AgainstDouble) {
    Rng rng(6);
    for (std::size_t n : kLengths) {
        const Floats x = random_floats(n, Values::usual, rng);
        Floats p(n);
        table_ref().softmax(x.data(), p.data(), n);
        double top = -1e300, sum = 0;
        for (float v : x) top = std::max<double>(top, v);
        for (float v : x) sum += std::exp(v - top);
        // x - m is wrong by u |x - m| <= 8 u absolutely, so e by 8 u relatively; exp itself by 2 u (1 ulp); the sum
        // by its terms; one division.
        const double bound = (2 * (8 + 2) + static_cast<double>(n) / 16 + 5 + 1) * kU * 1.01;
        double total = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double want = std::exp(x[i] - top) / sum;
            EXPECT_LE(std::fabs(p[i] - want), want * bound) << "n=" << n;
            total += p[i];
        }
        EXPECT_NEAR(total, 1.0, bound);
    }
}

TEST(ReferenceSilu, AgainstDouble) {
    Rng rng(8);
    for (int turn = 0; turn < 10000; ++turn) {
        const float g = random_float(Values::usual, rng) * 10, u = random_float(Values::usual, rng);
        float y;
        table_ref().gated(Activation::silu, &g, &u, &y, 1);
        const double want = g / (1 + std::exp(-static_cast<double>(g))) * u;
        // exp 2 u, sum u, quotient u, product u.
        EXPECT_LE(std::fabs(y - want), std::fabs(want) * 5 * kU * 1.01 + 1e-44) << g << " " << u;
    }
}

TEST(ReferenceRope, RotatesByTheAngle) {
    Rng rng(9);
    for (RopeMode mode : {RopeMode::adjacent, RopeMode::halves}) {
        const std::size_t n = 12, half = n / 2;
        float c[half], s[half];
        double angle[half];
        for (std::size_t i = 0; i < half; ++i) {
            angle[i] = static_cast<double>(i) * 0.7 + 0.1;
            c[i] = static_cast<float>(std::cos(angle[i])), s[i] = static_cast<float>(std::sin(angle[i]));
        }
        Floats x = random_floats(n, Values::usual, rng);
        const Floats before(x);
        table_ref().rope(x.data(), 1, n, n, c, s, mode);
        for (std::size_t i = 0; i < half; ++i) {
            const std::size_t a = mode == RopeMode::adjacent ? 2 * i : i;
            const std::size_t b = mode == RopeMode::adjacent ? 2 * i + 1 : i + half;
            const double size = std::hypot(before[a], before[b]);
            EXPECT_NEAR(x[a], before[a] * std::cos(angle[i]) - before[b] * std::sin(angle[i]), size * 4 * kU);
            EXPECT_NEAR(x[b], before[a] * std::sin(angle[i]) + before[b] * std::cos(angle[i]), size * 4 * kU);
        }
    }
}

TEST(Comparers, SeeWhatTheyMustSee) {
    const float nan = std::nanf("");
    EXPECT_TRUE(same_bits(1.0f, 1.0f));
    EXPECT_TRUE(same_bits(nan, -nan));
    EXPECT_FALSE(same_bits(0.0f, -0.0f));
    EXPECT_FALSE(same_bits(1.0f, std::nextafter(1.0f, 2.0f)));
    EXPECT_FALSE(same_bits(nan, 1.0f));
    EXPECT_NEAR(ulps(1.0f + 0x1p-23f, 1.0L), 1.0, 1e-9);
    EXPECT_NEAR(ulps(0x1p-149f, 0.0L), 1.0, 1e-9);
    EXPECT_NEAR(ulps(2.0f, 2.0L + 0x1p-23L), 0.5, 1e-6);
    EXPECT_GT(ulps(std::numeric_limits<float>::infinity(), 1.0L), 1e20);
}

}  // namespace
}  // namespace tern::kernels
