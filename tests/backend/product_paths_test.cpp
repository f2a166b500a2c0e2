// Each way of multiplying of a graphics device, whichever it takes by itself, against the reference,
// bit for bit (docs/numerics.md): more tokens and rows than
// a tile and no multiple of it, several tiles, bias, experts, heads.
#include <limits>

#include "conformance.h"
#include "quantised.h"

namespace tern::test {
namespace {

class ProductPaths : public testing::TestWithParam<DTypeInfo> {};

TEST_P(ProductPaths, Linear) {
    const DType dtype = GetParam().dtype;
    const std::uint64_t block = info(dtype).block, cols = block == 1 ? 75 : block == 32 ? 96 : 768, rows = 75;
    const Quantised w(dtype, rows, cols, 5);
    const Matrix bias(1, rows, 7);
    for (const std::uint32_t n : {1u, 131u}) {
        const Matrix x(n, cols, 6);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight(), bias.weight())));
        const std::vector<float> expected = run_graph({}, g, {{{n}}});
        for (const BackendSetup& setup : product_setups())
            expect_as_device(setup, run_graph(setup, g, {{{n}}}), expected);
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, ProductPaths, testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()),
                         [](const auto& p) { return std::string(p.param.name); });

constexpr DType kSome[] = {DType::F32, DType::F16, DType::Q8_0, DType::Q6_K};

TEST(ProductPathsOf, Experts) {
    constexpr std::uint32_t n = 150, experts = 3;
    constexpr std::uint64_t cols = 256, rows = 70;
    const Matrix x(n, cols, 1), router(experts, cols, 2), bias(experts, rows, 4);
    for (const DType dtype : kSome) {
        const Quantised w(dtype, experts * rows, cols, 3);
        graph::Graph g;
        const graph::Value h = g.embed(x.weight());
        const graph::Value routing = g.route(g.linear(h, router.weight()), {.used = 2, .normalise = true});
        g.set_logits(g.take_outputs(
            g.combine_experts(g.linear_experts(g.gather_experts(h, routing), routing, w.weight(experts), bias.weight()), routing)));
        const std::vector<float> expected = run_graph({}, g, {{{n}}});
        for (const BackendSetup& setup : product_setups())
            expect_as_device(setup, run_graph(setup, g, {{{n}}}), expected);
    }
}

TEST(ProductPathsOf, Heads) {
    constexpr std::uint32_t n = 70, heads = 3;
    constexpr std::uint64_t cols = 256, rows = 40;
    const Matrix x(n, heads * cols, 1);
    for (const DType dtype : kSome) {
        const Quantised w(dtype, heads * rows, cols, 3);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear_heads(g.embed(x.weight()), w.weight(heads))));
        const std::vector<float> expected = run_graph({}, g, {{{n}}});
        for (const BackendSetup& setup : product_setups())
            expect_as_device(setup, run_graph(setup, g, {{{n}}}), expected);
    }
}

// What is not a number makes the products of its block NaN and no other (docs/numerics.md); tiny blocks are 0.
TEST(ProductPathsOf, ActivationsThatAreNoNumbers) {
    constexpr std::uint32_t n = 5;
    constexpr std::uint64_t rows = 40;
    for (const DType dtype : {DType::Q8_0, DType::Q4_K}) {
        const std::uint64_t cols = 512;
        const Quantised w(dtype, rows, cols, 3);
        Matrix x(n, cols, 1);
        x.data[0 * cols + 3] = std::numeric_limits<float>::infinity();
        x.data[2 * cols + 500] = std::numeric_limits<float>::quiet_NaN();
        for (std::uint64_t k = 0; k < cols; ++k) x.data[3 * cols + k] *= 1e-35f;
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight())));
        const std::vector<float> expected = run_graph({}, g, {{{n}}});
        for (const BackendSetup& setup : product_setups()) {
            const std::vector<float> got = run_graph(setup, g, {{{n}}});
            ASSERT_EQ(got.size(), expected.size());
            std::vector<float> a, b;
            for (std::uint32_t t = 0; t < n; ++t)
                for (std::uint64_t r = 0; r < rows; ++r) {
                    const float have = got[t * rows + r], want = expected[t * rows + r];
                    ASSERT_EQ(std::isnan(have), std::isnan(want)) << name_of(setup) << " token " << t;
                    if (t == 3) {
                        ASSERT_EQ(have, 0.0f) << name_of(setup);
                        ASSERT_EQ(want, 0.0f);
                    }
                    if (std::isnan(have)) continue;
                    a.push_back(have);
                    b.push_back(want);
                }
            expect_as_device(setup, a, b);
            EXPECT_EQ(a.size(), 3 * rows);
        }
    }
}

}  // namespace
}  // namespace tern::test
