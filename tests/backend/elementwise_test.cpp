// embed, take_outputs, add, mul, scale, silu_mul, rms_norm.
#include <cmath>

#include "conformance.h"

namespace tern::test {
namespace {

constexpr std::uint64_t kWidths[] = {1, 7, 64, 300, 5120};
constexpr std::uint32_t kTokens[] = {1, 2, 9};

struct Two {
    Matrix a, b;
    graph::Graph g;
    graph::Value x, y;
    Two(std::uint32_t tokens, std::uint64_t width, float scale = 1.0f)
        : a(tokens, width, 1, scale), b(tokens, width, 2, scale), x(g.embed(a.weight())), y(g.embed(b.weight())) {}
    std::vector<float> run(graph::Value out, std::uint32_t tokens) {
        g.set_logits(g.take_outputs(out));
        return conform(g, {{{tokens}}});
    }
};

TEST(Embed, CopiesRows) {
    for (const std::uint64_t width : kWidths) {
        Two t(9, width);
        EXPECT_EQ(t.run(t.x, 9), t.a.data);
    }
}

TEST(TakeOutputs, KeepsTheRowsAskedFor) {
    Two t(9, 33);
    t.g.set_logits(t.g.take_outputs(t.x));
    const std::vector<std::uint32_t> outputs{0, 3, 4, 8};
    for (const BackendSetup& setup : all_setups()) {
        const std::vector<float> got = run_graph(setup, t.g, {{{9}}}, KvType::f32, &outputs);
        ASSERT_EQ(got.size(), outputs.size() * 33);
        for (std::size_t i = 0; i < outputs.size(); ++i)
            EXPECT_EQ(std::memcmp(got.data() + i * 33, t.a.row(outputs[i]), 33 * sizeof(float)), 0);
    }
}

TEST(TakeOutputs, NoneIsAllowed) {
    Two t(5, 64);
    t.g.set_logits(t.g.rms_norm(t.g.take_outputs(t.x), {}, 1e-5f));
    const std::vector<std::uint32_t> none;
    for (const BackendSetup& setup : all_setups()) EXPECT_TRUE(run_graph(setup, t.g, {{{5}}}, KvType::f32, &none).empty());
}

TEST(Add, IsExact) {
    for (const std::uint64_t width : kWidths)
        for (const std::uint32_t n : kTokens) {
            Two t(n, width);
            const std::vector<float> got = t.run(t.g.add(t.x, t.y), n);
            for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], t.a.data[i] + t.b.data[i]);
        }
}

TEST(Mul, IsExact) {
    for (const std::uint64_t width : kWidths)
        for (const std::uint32_t n : kTokens) {
            Two t(n, width);
            const std::vector<float> got = t.run(t.g.mul(t.x, t.y), n);
            for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], t.a.data[i] * t.b.data[i]);
        }
}

TEST(Scale, IsExact) {
    for (const std::uint64_t width : kWidths) {
        Two t(3, width);
        const std::vector<float> got = t.run(t.g.scale(t.x, 0.3f), 3);
        for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], t.a.data[i] * 0.3f);
    }
}

TEST(SiluMul, AgreesWithTheDefinition) {
    for (const std::uint64_t width : kWidths)
        for (const std::uint32_t n : kTokens) {
            Two t(n, width, 4.0f);
            const std::vector<float> got = t.run(t.g.silu_mul(t.x, t.y), n);
            for (std::size_t i = 0; i < got.size(); ++i) {
                const double g = t.a.data[i], exact = g / (1.0 + std::exp(-g)) * t.b.data[i];
                // exp within 2 units, then one rounding each for the sum, the quotient and the product.
                expect_near(got[i], exact, std::abs(exact), 8);
            }
        }
}

TEST(RmsNorm, AgreesWithTheDefinition) {
    for (const std::uint64_t width : kWidths)
        for (const std::uint32_t n : kTokens) {
            Two t(n, width);
            const Matrix w(1, width, 3);
            const std::vector<float> got = t.run(t.g.rms_norm(t.x, w.weight(), 1e-5f), n);
            for (std::uint32_t row = 0; row < n; ++row) {
                double sum = 0;
                for (std::uint64_t i = 0; i < width; ++i) sum += std::pow(t.a.row(row)[i], 2);
                const double inv = 1.0 / std::sqrt(sum / static_cast<double>(width) + static_cast<double>(1e-5f));
                for (std::uint64_t i = 0; i < width; ++i) {
                    const double exact = t.a.row(row)[i] * inv * w.data[i];
                    // The square root halves the relative error of the sum of width / 16 + 4 terms.
                    expect_near(got[row * width + i], exact, std::abs(exact), static_cast<double>(width) / 32 + 12);
                }
            }
        }
}

// A residual stream as models have it: shared inputs, values that die at different times, reused memory.
TEST(Program, LongChainsKeepTheirValuesApart) {
    Two t(6, 96);
    graph::Value x = t.x;
    std::vector<float> expected = t.a.data;
    for (int i = 0; i < 20; ++i) {
        const graph::Value doubled = t.g.scale(x, 0.5f);
        const graph::Value other = t.g.mul(t.y, doubled);
        x = t.g.add(t.g.add(x, other), t.g.add(doubled, t.y));
        for (std::size_t k = 0; k < expected.size(); ++k) {
            const float d = expected[k] * 0.5f, o = t.b.data[k] * d;
            expected[k] = (expected[k] + o) + (d + t.b.data[k]);
        }
    }
    EXPECT_EQ(t.run(x, 6), expected);
}

}  // namespace
}  // namespace tern::test
