#include <algorithm>
#include <cmath>

#include "conformance.h"
#include "quantised.h"

namespace tern::test {
namespace {

class EveryFormat : public testing::TestWithParam<DTypeInfo> {};

TEST_P(EveryFormat, LinearAgreesWithTheDefinition) {
    const DType dtype = GetParam().dtype;
    for (const std::uint32_t n : {1u, 3u, 17u, 40u}) {
        const std::uint64_t cols = info(dtype).block == 1 ? 75 : info(dtype).block == 32 ? 96 : 512, rows = 53;
        const Quantised w(dtype, rows, cols, 5);
        const Matrix x(n, cols, 6);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight())));
        const std::vector<float> got = conform(g, {{{n}}});
        std::vector<std::vector<float>> near;
        for (const BackendSetup& setup : near_setups())
            if (n >= kNearTokens) near.push_back(run_graph(setup, g, {{{n}}}));
        const std::uint32_t act_block = info(dtype).block;
        for (std::uint32_t t = 0; t < n; ++t)
            for (std::uint64_t r = 0; r < rows; ++r) {
                double exact = 0, magnitude = 0, quantisation = 0;
                for (std::uint64_t k = 0; k < cols; ++k) {
                    const double product = static_cast<double>(w.exact[r * cols + k]) * x.row(t)[k];
                    exact += product;
                    magnitude += std::abs(product);
                }
                // f32 activations: each of the products, and each of the additions in whatever order, rounds once.
                for (const std::vector<float>& other : near)
                    expect_near(other[t * rows + r], exact, magnitude, static_cast<double>(cols) + 8);
                if (act_block > 1)  // an activation is off by at most half a step of its block
                    for (std::uint64_t b = 0; b < cols; b += act_block) {
                        double amax = 0, weights = 0;
                        for (std::uint64_t k = b; k < b + act_block; ++k) {
                            amax = std::max<double>(amax, std::abs(x.row(t)[k]));
                            weights += std::abs(w.exact[r * cols + k]);
                        }
                        quantisation += weights * amax / 127 * 0.5001;
                    }
                // Minimums cancel against quants, so their size counts as well: bounded by the largest weight.
                const double bound = quantisation + magnitude * 0x1p-24 * (static_cast<double>(cols) + 64) * 8 + 1e-12;
                ASSERT_LE(std::abs(got[t * rows + r] - exact), bound) << to_string(dtype) << " row " << r;
            }
    }
}

// Rows of a table are what the format's decoder says, bit for bit; on a backend with a tolerance but for the rounding of
// two operations. The codes are random, and each of the at most 2048 entries of a codebook is expected 12 times. The
// number of blocks is odd, so that their parts end within a word; rows of 75 end within a chunk.
TEST_P(EveryFormat, EmbedAgreesWithTheDefinition) {
    const DType dtype = GetParam().dtype;
    const std::uint64_t block = info(dtype).block, cols = block == 1 ? 75 : block == 32 ? 96 : 768;
    constexpr std::uint32_t n = 256;
    const Quantised w(dtype, n, cols, 7);
    graph::Graph g;
    g.set_logits(g.take_outputs(g.embed(w.weight())));
    expect_same_bits(conform(g, {{{n}}}), w.exact, std::string(info(dtype).name));
    for (const BackendSetup& setup : loose_setups()) {
        const std::vector<float> got = run_graph(setup, g, {{{n}}});
        ASSERT_EQ(got.size(), w.exact.size());
        for (std::size_t i = 0; i < got.size(); ++i)
            ASSERT_LE(std::abs(got[i] - w.exact[i]), std::abs(w.exact[i]) * 0x1p-23f)
                << info(dtype).name << " on " << name_of(setup) << ", row " << i / cols << ", element " << i % cols;
    }
}

// Larger than the blocks of rows and columns in which a backend may decode weights, and no multiple of them; bias.
TEST(Linear, LargeProductsOfBackendsWithATolerance) {
    constexpr std::uint32_t n = 37;
    for (const DType dtype : {DType::F32, DType::F16, DType::Q8_0, DType::Q4_K}) {
        const std::uint64_t rows = 1100, cols = info(dtype).block == 256 ? 1280 : 1312;
        const Quantised w(dtype, rows, cols, 5);
        const Matrix x(n, cols, 6), bias(1, rows, 7);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight(), bias.weight())));
        for (const BackendSetup& setup : near_setups()) {
            const std::vector<float> got = run_graph(setup, g, {{{n}}});
            for (std::uint32_t t = 0; t < n; ++t)
                for (std::uint64_t r = 0; r < rows; ++r) {
                    double exact = bias.data[r], magnitude = std::abs(bias.data[r]);
                    for (std::uint64_t k = 0; k < cols; ++k) {
                        const double product = static_cast<double>(w.exact[r * cols + k]) * x.row(t)[k];
                        exact += product;
                        magnitude += std::abs(product);
                    }
                    const double bound = (static_cast<double>(cols) + 8) * 0x1p-24 * magnitude;
                    ASSERT_LE(std::abs(got[t * rows + r] - exact), bound)
                        << to_string(dtype) << " on " << name_of(setup) << ", row " << r << " of token " << t;
                }
        }
    }
}

// Experts with few rows go through the kernels and their quantised activations, experts with many do not.
TEST(Linear, ExpertsOfBackendsWithATolerance) {
    constexpr std::uint32_t n = 90, experts = 3;
    constexpr std::uint64_t cols = 64, rows = 21;
    Matrix x(n, cols, 1), router(experts, cols, 2);
    for (std::uint32_t t = 0; t < n; ++t)  // 5 tokens to expert 0, the others to 1; none to 2
        x.data[t * cols] = t % 18 == 0 ? 20.0f : -20.0f;
    std::fill(router.data.begin(), router.data.end(), 0.0f);
    router.data[0] = 1.0f;
    router.data[cols] = -1.0f;
    const Quantised w(DType::Q8_0, experts * rows, cols, 3);
    graph::Graph g;
    const graph::Value h = g.embed(x.weight());
    const graph::Value routing = g.route(g.linear(h, router.weight()), {.used = 1, .normalise = true});
    g.set_logits(g.take_outputs(
        g.combine_experts(g.linear_experts(g.gather_experts(h, routing), routing, w.weight(experts)), routing)));
    const std::vector<float> kernels = conform(g, {{{n}}});
    for (const BackendSetup& setup : near_setups()) {
        const std::vector<float> got = run_graph(setup, g, {{{n}}});
        for (std::uint32_t t = 0; t < n; ++t)
            for (std::uint64_t r = 0; r < rows; ++r) {
                const bool few = t % 18 == 0;
                if (few) {
                    ASSERT_EQ(got[t * rows + r], kernels[t * rows + r]) << name_of(setup) << " token " << t;
                    continue;
                }
                double exact = 0, magnitude = 0;
                for (std::uint64_t k = 0; k < cols; ++k) {
                    const double product = static_cast<double>(w.exact[(rows + r) * cols + k]) * x.row(t)[k];
                    exact += product;
                    magnitude += std::abs(product);
                }
                // The expert's weight is 1, within the rounding of the division by their sum.
                expect_near(got[t * rows + r], exact, magnitude, cols + 8);
            }
    }
}

INSTANTIATE_TEST_SUITE_P(Linear, EveryFormat, testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()),
                         [](const auto& p) { return std::string(p.param.name); });

TEST(Linear, BiasIsAddedOnce) {
    const Matrix x(4, 64, 1), w(37, 64, 2), bias(1, 37, 3);
    graph::Graph plain, biased;
    plain.set_logits(plain.take_outputs(plain.linear(plain.embed(x.weight()), w.weight())));
    graph::Weight b = bias.weight();
    biased.set_logits(biased.take_outputs(biased.linear(biased.embed(x.weight()), w.weight(), b)));
    const std::vector<float> without = conform(plain, {{{4}}}), with = conform(biased, {{{4}}});
    for (std::size_t i = 0; i < with.size(); ++i) ASSERT_EQ(with[i], without[i] + bias.data[i % 37]);
}

// Products that share an input run as one step; their results must not depend on that.
TEST(Linear, SharedInputs) {
    const Matrix x(3, 256, 1), w1(90, 256, 2), w2(90, 256, 3);
    const Quantised q1(DType::Q8_0, 90, 256, 4), q2(DType::Q4_K, 90, 256, 5);
    graph::Graph g;
    const graph::Value h = g.embed(x.weight());
    const graph::Value a = g.linear(h, w1.weight()), b = g.scale(g.linear(h, q1.weight()), 0.5f),
                       c = g.linear(h, q2.weight()), d = g.linear(h, w2.weight());
    g.set_logits(g.take_outputs(g.add(g.add(a, b), g.add(c, d))));
    const std::vector<float> together = conform(g, {{{3}}});
    const auto alone = [&](const graph::Weight& w, float factor) {
        graph::Graph one;
        one.set_logits(one.take_outputs(one.scale(one.linear(one.embed(x.weight()), w), factor)));
        return run_graph({}, one, {{{3}}});
    };
    const auto ra = alone(w1.weight(), 1), rb = alone(q1.weight(), 0.5f), rc = alone(q2.weight(), 1), rd = alone(w2.weight(), 1);
    for (std::size_t i = 0; i < together.size(); ++i) ASSERT_EQ(together[i], (ra[i] + rb[i]) + (rc[i] + rd[i]));
}

}  // namespace
}  // namespace tern::test
