// Products of many tokens in half precision on a graphics device, within a bound of the exact ones: more
// tokens and rows than a tile and no multiple of it, every format, bias, experts, heads, activations of any
// size and those that are no numbers.
#include <algorithm>
#include <limits>

#include "conformance.h"
#include "quantised.h"

namespace tern::test {
namespace {

std::vector<BackendSetup> half_setups() {
    return setups_by({"half", "matrix"});
}

// Of one result, w · x, in double, and how far it may be off.
struct Product {
    double exact = 0, bound = 0;
};

// Rounding to 11 bits, to nearest or not, is off by 2^-10 at most: of a weight and an activation in both
// ways, and of 16 sums and what they become in f16; sums in f32 add 2^-24 each. Numbers below 2^-14 may be
// lost where the largest of a row's activations has 2^4, of a chunk's weights 2^5, of their products 2^9;
// `matrix` takes weights as they are.
Product product(const std::string& isa, std::span<const float> w, std::span<const float> x) {
    double exact = 0, size = 0, w_most = 0, x_most = 0, x_sum = 0;
    for (std::size_t k = 0; k < w.size(); ++k) {
        const double a = w[k], b = x[k];
        exact += a * b;
        size += std::abs(a * b);
        w_most = std::max(w_most, std::abs(a));
        x_most = std::max(x_most, std::abs(b));
        x_sum += std::abs(b);
    }
    const auto n = static_cast<double>(w.size());
    double bound = (isa == "half" ? 20 : 3) * 0x1p-10 * size + 2 * n * 0x1p-24 * size +
                   3 * n * 0x1p-18 * w_most * x_most;
    if (isa == "matrix") bound += 0x1p-14 * x_sum;
    return {exact, bound};
}

struct Off {
    double most = 0;  // of the bound; more than 1 is wrong
    double nmse = 0;
};

// The results of row t of `x` with row r of `w`, at t * rows + r of `got`.
Off off(const std::string& isa, std::span<const float> got, std::span<const float> w,
        std::span<const float> x, std::size_t cols, float bias = 0) {
    Off o;
    double error = 0, power = 0;
    const std::size_t rows = w.size() / cols, n = x.size() / cols;
    for (std::size_t t = 0; t < n; ++t)
        for (std::size_t r = 0; r < rows; ++r) {
            const Product p = product(isa, w.subspan(r * cols, cols), x.subspan(t * cols, cols));
            const double e = got[t * rows + r] - (p.exact + bias);
            o.most = std::max(o.most, std::isfinite(e) ? std::abs(e) / (p.bound + 1e-37) : 1e9);
            error += e * e;
            power += p.exact * p.exact;
        }
    o.nmse = error / power;
    return o;
}

TEST(HalfProductsBound, SeesAResultOfAnotherRow) {
    const Matrix w(3, 64, 1), x(2, 64, 2);
    std::vector<float> y;
    for (std::size_t t = 0; t < 2; ++t)
        for (std::size_t r = 0; r < 3; ++r) {
            double sum = 0;
            for (std::size_t k = 0; k < 64; ++k) sum += double{w.row(r)[k]} * x.row(t)[k];
            y.push_back(static_cast<float>(sum));
        }
    for (const char* isa : {"half", "matrix"}) {
        EXPECT_LT(off(isa, y, w.data, x.data, 64).most, 0.01);
        std::vector<float> wrong = y;
        std::swap(wrong[1], wrong[2]);
        EXPECT_GT(off(isa, wrong, w.data, x.data, 64).most, 1);
        EXPECT_GT(off(isa, wrong, w.data, x.data, 64).nmse, 1e-3);
    }
}

class HalfProducts : public testing::TestWithParam<DTypeInfo> {};

TEST_P(HalfProducts, Linear) {
    const DType dtype = GetParam().dtype;
    const std::uint64_t block = info(dtype).block, cols = block == 1 ? 75 : block == 32 ? 96 : 512, rows = 75;
    const Quantised w(dtype, rows, cols, 5);
    const std::uint32_t n = 70;
    const Matrix x(n, cols, 6);
    graph::Graph g;
    g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight())));
    for (const BackendSetup& setup : half_setups()) {
        const Off o = off(setup.isa, run_graph(setup, g, {{{n}}}), w.exact, x.data, cols);
        EXPECT_LE(o.most, 1) << name_of(setup);
        EXPECT_LT(o.nmse, 1e-5) << name_of(setup);
        EXPECT_GT(o.nmse, 0) << name_of(setup) << " is exact, so something else was tested";
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, HalfProducts, testing::ValuesIn(all_dtypes().begin(), all_dtypes().end()),
                         [](const auto& p) { return std::string(p.param.name); });

constexpr DType kSome[] = {DType::F32, DType::Q4_K};

TEST(HalfProductsOf, Bias) {
    constexpr std::uint32_t n = 20;
    constexpr std::uint64_t cols = 256, rows = 40;
    const Quantised w(DType::Q8_0, rows, cols, 5);
    const Matrix x(n, cols, 6);
    Matrix bias(1, rows, 7);
    std::fill(bias.data.begin(), bias.data.end(), 0.5f);
    graph::Graph g;
    g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight(), bias.weight())));
    for (const BackendSetup& setup : half_setups())
        EXPECT_LE(off(setup.isa, run_graph(setup, g, {{{n}}}), w.exact, x.data, cols, 0.5f).most, 1)
            << name_of(setup);
}

// Rows are scaled by their largest number: neither infinite nor lost.
TEST(HalfProductsOf, ActivationsOfAnySize) {
    constexpr std::uint32_t n = 20;
    constexpr std::uint64_t cols = 256, rows = 40;
    for (const DType dtype : kSome) {
        const Quantised w(dtype, rows, cols, 5);
        Matrix x(n, cols, 6);
        for (std::uint64_t k = 0; k < cols; ++k) {
            x.data[1 * cols + k] *= 1e30f;
            x.data[2 * cols + k] *= 1e-30f;
            x.data[3 * cols + k] = 0;
            x.data[4 * cols + k] *= k == 7 ? 1e20f : 1;
        }
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight())));
        for (const BackendSetup& setup : half_setups()) {
            const std::vector<float> got = run_graph(setup, g, {{{n}}});
            for (std::uint32_t t = 0; t < n; ++t) {
                const Off o =
                    off(setup.isa, std::span(got).subspan(t * rows, rows), w.exact, {x.row(t), cols}, cols);
                EXPECT_LE(o.most, 1) << name_of(setup) << " " << info(dtype).name << " token " << t;
                if (t == 3) continue;
                EXPECT_LT(o.nmse, 1e-4) << name_of(setup) << " " << info(dtype).name << " token " << t;
            }
        }
    }
}

TEST(HalfProductsOf, ActivationsThatAreNoNumbers) {
    constexpr std::uint32_t n = 20;
    constexpr std::uint64_t cols = 256, rows = 40;
    const Quantised w(DType::Q4_K, rows, cols, 3);
    Matrix x(n, cols, 1);
    x.data[0 * cols + 3] = std::numeric_limits<float>::infinity();
    x.data[2 * cols + 200] = std::numeric_limits<float>::quiet_NaN();
    graph::Graph g;
    g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight())));
    for (const BackendSetup& setup : half_setups()) {
        const std::vector<float> got = run_graph(setup, g, {{{n}}});
        for (std::uint32_t t = 0; t < n; ++t)
            for (std::uint64_t r = 0; r < rows; ++r)
                EXPECT_EQ(std::isnan(got[t * rows + r]), t == 0 || t == 2)
                    << name_of(setup) << " token " << t;
    }
}

// The sum of two products with weights of a router is off by no more than both.
TEST(HalfProductsOf, Experts) {
    constexpr std::uint32_t n = 150, experts = 3;
    constexpr std::uint64_t cols = 256, rows = 70;
    const Matrix x(n, cols, 1), router(experts, cols, 2), bias(experts, rows, 4);
    for (const DType dtype : kSome) {
        const Quantised w(dtype, experts * rows, cols, 3);
        // The routing is exact on both sides: what chooses an expert must not depend on rounding.
        graph::Graph g;
        const graph::Value h = g.embed(x.weight());
        const Matrix chosen(n, experts, 9);
        const graph::Value routing = g.route(g.embed(chosen.weight()), {.used = 2, .normalise = true});
        g.set_logits(g.take_outputs(g.combine_experts(
            g.linear_experts(g.gather_experts(h, routing), routing, w.weight(experts), bias.weight()),
            routing)));
        const std::vector<float> expected = run_graph({}, g, {{{n}}});
        for (const BackendSetup& setup : half_setups()) {
            const std::vector<float> got = run_graph(setup, g, {{{n}}});
            ASSERT_EQ(got.size(), expected.size());
            for (std::uint32_t t = 0; t < n; ++t)
                for (std::uint64_t r = 0; r < rows; ++r) {
                    double bound = 0;
                    for (std::uint64_t e = 0; e < experts; ++e)
                        bound += product(setup.isa, std::span(w.exact).subspan((e * rows + r) * cols, cols),
                                         {x.row(t), cols})
                                     .bound;
                    // The reference quantises activations: half a step of 1/127 of a block's largest.
                    double most = 0, size = 0;
                    if (dtype != DType::F32) {
                        for (std::uint64_t k = 0; k < cols; ++k)
                            most = std::max(most, std::abs(double{x.row(t)[k]}));
                        for (std::uint64_t e = 0; e < experts; ++e)
                            for (std::uint64_t k = 0; k < cols; ++k)
                                size += std::abs(double{w.exact[(e * rows + r) * cols + k]});
                    }
                    ASSERT_NEAR(got[t * rows + r], expected[t * rows + r], bound + most / 254 * size + 1e-5)
                        << name_of(setup) << " " << info(dtype).name << " token " << t << " row " << r;
                }
        }
    }
}

TEST(HalfProductsOf, Heads) {
    constexpr std::uint32_t n = 70, heads = 3;
    constexpr std::uint64_t cols = 256, rows = 40;
    const Matrix x(n, heads * cols, 1);
    for (const DType dtype : kSome) {
        const Quantised w(dtype, heads * rows, cols, 3);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.linear_heads(g.embed(x.weight()), w.weight(heads))));
        for (const BackendSetup& setup : half_setups()) {
            const std::vector<float> got = run_graph(setup, g, {{{n}}});
            for (std::uint32_t t = 0; t < n; ++t)
                for (std::uint64_t r = 0; r < heads * rows; ++r) {
                    const Product p = product(setup.isa, std::span(w.exact).subspan(r * cols, cols),
                                              {x.row(t) + r / rows * cols, cols});
                    ASSERT_LE(std::abs(got[t * heads * rows + r] - p.exact), p.bound)
                        << name_of(setup) << " " << info(dtype).name << " token " << t << " row " << r;
                }
        }
    }
}

}  // namespace
}  // namespace tern::test
