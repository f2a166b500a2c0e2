// A graph falls apart where one value is handed on, and nowhere else.
#include "graph/cut.h"

#include <gtest/gtest.h>
#include <tern/error.h>

namespace tern::graph {
namespace {

const float kOne = 1.0f;
constexpr std::uint64_t kWidth = 8;

Weight weight(std::uint64_t rows, std::uint64_t cols) {
    return {.data = &kOne, .dtype = DType::F32, .cols = cols, .rows = rows, .slabs = 1, .name = "w"};
}

enum class Kind { pre_norm, post_norm, parallel, extra };

// `begins`: the operations with which the layers begin.
struct Model {
    Graph g;
    std::vector<std::size_t> begins;

    Model(Kind kind, std::uint32_t layers) {
        const Value embedded = g.embed(weight(100, kWidth));
        Value x = g.scale(embedded, 2.0f);
        const std::uint32_t even = g.add_rope({.inv_freq = {1.0}}), odd = g.add_rope({.inv_freq = {0.5}});
        for (std::uint32_t i = 0; i < layers; ++i) {
            begins.push_back(g.ops().size());
            const Value h = kind == Kind::post_norm ? x : norm(x);
            const std::uint32_t rope = i % 2 ? odd : even;
            Value a = g.attention(g.rope(linear(h), 1, rope), g.rope(linear(h), 1, rope), linear(h),
                                  {.q = 1, .kv = 1, .k_dim = kWidth, .v_dim = kWidth}, {.visibility = {.window = i}});
            if (i + 1 == layers) {
                a = g.take_outputs(a);
                x = g.take_outputs(x);
            }
            if (kind == Kind::parallel) {
                const Value down = linear(i + 1 == layers ? g.take_outputs(h) : h);
                x = g.add(g.add(x, linear(a)), down);
                continue;
            }
            x = kind == Kind::post_norm ? norm(g.add(x, linear(a))) : g.add(x, linear(a));
            x = kind == Kind::post_norm ? norm(g.add(x, linear(x))) : g.add(x, linear(norm(x)));
            if (kind == Kind::extra) x = g.add(x, i + 1 == layers ? g.take_outputs(embedded) : embedded);
        }
        g.set_logits(g.linear(norm(x), weight(20, kWidth)));
    }
    Value norm(Value x) { return g.rms_norm(x, weight(1, kWidth), 1e-5f); }
    Value linear(Value x) { return g.linear(x, weight(kWidth, kWidth)); }
};

TEST(Cut, FindsWhereLayersBegin) {
    for (const Kind kind : {Kind::pre_norm, Kind::post_norm, Kind::parallel})
        for (const std::uint32_t layers : {1u, 2u, 5u}) {
            const Model m(kind, layers);
            EXPECT_EQ(layer_begins(m.g), m.begins) << static_cast<int>(kind) << " with " << layers;
        }
    // What every layer looks at again is a second value; before the first layer's own use of it there is one.
    const Model m(Kind::extra, 3);
    for (const std::size_t begin : layer_begins(m.g)) EXPECT_TRUE(begin == kNoCut || begin <= 1) << begin;
    EXPECT_EQ(layer_begins(m.g)[1], kNoCut);
    EXPECT_EQ(layer_begins(m.g)[2], kNoCut);
    EXPECT_TRUE(layer_begins(Graph()).empty());
}

TEST(Cut, PartsAreTheWholeInOrder) {
    for (const Kind kind : {Kind::pre_norm, Kind::post_norm, Kind::parallel}) {
        const Model m(kind, 5);
        const std::vector<std::size_t> at = {m.begins[0], m.begins[1], m.begins[3]};
        const std::vector<Graph> parts = cut(m.g, at);
        ASSERT_EQ(parts.size(), 4u);
        const std::size_t layers[] = {0, 1, 2, 2}, ropes[] = {0, 1, 2, 2};
        std::size_t op = 0, layer = 0;
        for (std::size_t p = 0; p < parts.size(); ++p) {
            const Graph& g = parts[p];
            EXPECT_EQ(g.kv_layers().size(), layers[p]);
            EXPECT_EQ(g.ropes().size(), ropes[p]) << "angles that no operation uses would be computed for nothing";
            EXPECT_EQ(g.info(g.logits()).domain, p + 1 < parts.size() ? Domain::tokens : Domain::outputs);
            EXPECT_EQ(g.values().size(), g.ops().size());
            std::size_t i = 0;
            if (p > 0) {
                ASSERT_EQ(g.ops()[0].kind, OpKind::input);
                EXPECT_EQ(g.info(g.ops()[0].out).cols, kWidth);
                EXPECT_EQ(g.info(g.ops()[0].out).cols, parts[p - 1].info(parts[p - 1].logits()).cols);
                i = 1;
            }
            for (std::uint32_t l = 0; l < g.kv_layers().size(); ++l, ++layer) {
                EXPECT_EQ(g.kv_layers()[l].window, m.g.kv_layers()[layer].window);
                const Rope& angles = g.ropes()[static_cast<std::size_t>(g.kv_layers()[l].rope)];
                EXPECT_EQ(angles.inv_freq, m.g.ropes()[static_cast<std::size_t>(m.g.kv_layers()[layer].rope)].inv_freq);
            }
            std::uint32_t next_layer = 0;
            for (; i < g.ops().size(); ++i, ++op) {
                const Op &own = g.ops()[i], &whole = m.g.ops()[op];
                EXPECT_EQ(own.kind, whole.kind);
                EXPECT_EQ(own.weight.rows, whole.weight.rows);
                for (const Value v : own.in) EXPECT_TRUE(!v || v.id < own.out.id);
                for (int in = 0; in < 3; ++in) EXPECT_EQ(static_cast<bool>(own.in[in]), static_cast<bool>(whole.in[in]));
                if (own.kind == OpKind::attention) {
                    EXPECT_EQ(own.layer, next_layer++);
                }
                if (own.kind == OpKind::rope) {
                    EXPECT_EQ(g.ropes()[own.rope].inv_freq, m.g.ropes()[whole.rope].inv_freq);
                }
            }
        }
        EXPECT_EQ(op, m.g.ops().size());
        EXPECT_EQ(layer, 5u);
    }
}

TEST(Cut, RefusesOtherPlaces) {
    const Model m(Kind::pre_norm, 3);
    const auto refused = [&](std::vector<std::size_t> at) {
        EXPECT_THROW(cut(m.g, at), Error) << at[0];
    };
    refused({0});
    refused({m.begins[1] + 1});  // the norm and the stream itself
    refused({m.begins[2], m.begins[1]});
    refused({m.begins[1], m.begins[1]});
    refused({m.g.ops().size()});
    refused({m.g.ops().size() + 5});
    EXPECT_EQ(cut(m.g, {}).size(), 1u);
    EXPECT_EQ(cut(m.g, m.begins).size(), 4u);
    const Model odd(Kind::extra, 3);
    EXPECT_THROW(cut(odd.g, std::vector{odd.begins[1]}), Error);
}

TEST(Cut, AGraphHasOneInput) {
    Graph g;
    const Value x = g.input(4, Domain::outputs);
    EXPECT_EQ(g.info(x).domain, Domain::outputs);
    EXPECT_THROW(g.input(4), Error);
    EXPECT_THROW(Graph().input(0), Error);
    g.set_logits(g.scale(x, 2));
}

}  // namespace
}  // namespace tern::graph
