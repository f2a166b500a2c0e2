// embed, take_outputs, add, mul, scale, and a program of many.
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

TEST(Mul, ByOneColumn) {
    for (const std::uint64_t width : {1u, 7u, 300u}) {
        const Matrix a(4, width, 1), b(4, 1, 2);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.mul(g.embed(a.weight()), g.embed(b.weight()))));
        const std::vector<float> got = conform(g, {{{4}}});
        for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], a.data[i] * b.data[i / width]);
    }
}

// Positions count from the beginning of the sequence, whatever the batch.
TEST(Embed, ByPositionAndTheFirstRow) {
    const Matrix positions(40, 9, 1), types(2, 9, 2);
    graph::Graph g;
    g.set_logits(g.take_outputs(
        g.add(g.embed(positions.weight(), graph::Lookup::position), g.embed(types.weight(), graph::Lookup::first))));
    const std::vector<float> got = conform(g, {{{3, 0}, {2, 7}}, {{4, 36}}});
    const std::uint32_t expected[] = {0, 1, 2, 7, 8, 36, 37, 38, 39};
    ASSERT_EQ(got.size(), std::size(expected) * 9);
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_EQ(got[i], positions.row(expected[i / 9])[i % 9] + types.data[i % 9]) << i;
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
