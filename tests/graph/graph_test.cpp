#include "graph/graph.h"

#include <gtest/gtest.h>
#include <tern/error.h>

#include <random>

namespace tern::graph {
namespace {

const float kOne = 1.0f;

Weight weight(std::uint64_t rows, std::uint64_t cols, std::uint64_t slabs = 1) {
    return {.data = &kOne, .dtype = DType::F32, .cols = cols, .rows = rows, .slabs = slabs, .name = "w"};
}

TEST(Graph, InfersShapes) {
    Graph g;
    const Value x = g.embed(weight(100, 32));
    EXPECT_EQ(g.info(x).cols, 32u);
    const Value y = g.linear(x, weight(80, 32));
    EXPECT_EQ(g.info(y).cols, 80u);
    const Value a = g.attention(y, g.linear(x, weight(20, 32)), g.linear(x, weight(6, 32)),
                                {.q = 8, .kv = 2, .k_dim = 10, .v_dim = 3}, {.scale = 1.0f});
    EXPECT_EQ(g.info(a).cols, 24u);
    const Value o = g.take_outputs(a);
    EXPECT_EQ(g.info(o).domain, Domain::outputs);
    const Value r = g.route(g.linear(o, weight(5, 24)), {.used = 2});
    const Value e = g.linear_experts(g.gather_experts(o, r), r, weight(7, 24, 5));
    EXPECT_EQ(g.info(e).per_row, 2u);
    EXPECT_EQ(g.info(g.combine_experts(e, r)).cols, 7u);
    EXPECT_EQ(g.info(g.linear_heads(x, weight(9, 8, 4))).cols, 36u);
    EXPECT_EQ(g.info(g.slice(x, 2, 3, 4)).cols, 12u);
    EXPECT_EQ(g.info(g.concat(x, g.slice(x, 2, 3, 4), 4)).cols, 44u);
    EXPECT_EQ(g.max_positions(), 0u);
    g.embed(weight(50, 32), Lookup::position);
    EXPECT_EQ(g.max_positions(), 50u);
    EXPECT_TRUE(g.causal());
    g.attention(x, x, x, {.q = 4, .kv = 4, .k_dim = 8, .v_dim = 8}, {.visibility = {.causal = false}});
    EXPECT_FALSE(g.causal());
}

TEST(Graph, RefusesWhatDoesNotFit) {
    Graph g;
    const Value x = g.embed(weight(100, 32)), y = g.embed(weight(100, 16));
    EXPECT_THROW(g.linear(x, weight(8, 31)), Error);
    EXPECT_THROW(g.add(x, y), Error);
    EXPECT_THROW(g.mul(x, g.take_outputs(x)), Error);
    EXPECT_THROW(g.gated(Activation::silu, x, y), Error);
    EXPECT_THROW(g.activate(Activation::clamped_silu, x), Error);
    EXPECT_THROW(g.softcap(x, 0), Error);
    EXPECT_THROW(g.slice(x, 30, 3), Error);
    EXPECT_THROW(g.slice(x, 0, 1, 5), Error);
    EXPECT_THROW(g.concat(x, y, 3), Error);
    EXPECT_THROW(g.layer_norm(x, weight(1, 32), weight(1, 16), 1e-5f), Error);
    EXPECT_THROW(g.rms_norm(x, weight(1, 8), 1e-5f, 2), Error);
    EXPECT_THROW(g.linear_heads(x, weight(8, 16, 3)), Error);
    EXPECT_THROW(g.rms_norm(x, weight(1, 16), 1e-5f), Error);
    EXPECT_THROW(g.rope(x, 3, 0), Error);
    EXPECT_THROW(g.attention(x, y, y, {.q = 3, .kv = 2, .k_dim = 8, .v_dim = 8}, {}), Error);
    EXPECT_THROW(g.take_outputs(g.take_outputs(x)), Error);
    EXPECT_THROW(g.route(x, {.used = 33}), Error);
    EXPECT_THROW(g.route(x, {.used = 9, .groups = 8, .groups_used = 2}), Error);
    EXPECT_THROW(g.route(x, {.used = 2, .bias = weight(1, 31)}), Error);
    EXPECT_THROW(g.set_logits(x), Error);
    EXPECT_THROW(g.linear(x, weight(8, 32), weight(1, 9)), Error);
}

// Random graphs: values whose phases meet never share a byte, and memory is not simply the sum.
TEST(Plan, KeepsLivingValuesApart) {
    std::mt19937 random(7);
    for (int round = 0; round < 50; ++round) {
        Graph g;
        std::vector<Value> values{g.embed(weight(100, 64))};
        for (int i = 0; i < 60; ++i) {
            const auto pick = [&] {
                const std::size_t from = values.size() > 6 ? values.size() - 6 : 0;
                return values[from + random() % (values.size() - from)];
            };
            values.push_back(random() % 2 ? g.add(pick(), pick()) : g.scale(pick(), 2.0f));
        }
        g.set_logits(g.take_outputs(values.back()));
        std::vector<PhaseRange> phases;
        std::size_t phase = 0;
        for (std::size_t i = 0; i < g.ops().size(); ++i) {
            const std::size_t first = phase += random() % 2;
            phases.push_back({first, phase += random() % 3 == 0});
        }
        const Plan plan = plan_buffers(g, phases, 5, 2);
        const std::size_t n = g.values().size();
        std::vector<std::size_t> born(n), dies(n);
        std::uint64_t sum = 0;
        for (std::size_t i = 0; i < g.ops().size(); ++i) {
            const auto out = static_cast<std::size_t>(g.ops()[i].out.id);
            born[out] = phases[i].first;
            dies[out] = std::max(dies[out], phases[i].last);
            for (const Value v : g.ops()[i].in)
                if (v) dies[static_cast<std::size_t>(v.id)] = std::max(dies[static_cast<std::size_t>(v.id)], phases[i].last);
        }
        dies[static_cast<std::size_t>(g.logits().id)] = SIZE_MAX;
        for (std::size_t a = 0; a < n; ++a) {
            const std::uint64_t bytes_a = value_bytes(g.values()[a], 5, 2);
            sum += bytes_a;
            EXPECT_EQ(plan.offset[a] % 64, 0u);
            EXPECT_LE(plan.offset[a] + bytes_a, plan.bytes);
            for (std::size_t b = 0; b < a; ++b) {
                if (born[a] > dies[b] || born[b] > dies[a]) continue;
                EXPECT_TRUE(plan.offset[a] + bytes_a <= plan.offset[b] ||
                            plan.offset[b] + value_bytes(g.values()[b], 5, 2) <= plan.offset[a])
                    << a << " and " << b;
            }
        }
        EXPECT_LT(plan.bytes, sum / 2);
    }
}

}  // namespace
}  // namespace tern::graph
