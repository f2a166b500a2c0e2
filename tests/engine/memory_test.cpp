// Plans, budgets, and windows whose pages are freed.
#include "backend/interface.h"
#include "engine/support.h"
#include "models/model_impl.h"

namespace tern::test {
namespace {

TEST(Memory, AnEngineTakesWhatThePlanSays) {
    const Model model = tiny();
    for (const EngineOptions& o : {EngineOptions{}, EngineOptions{.kv_memory = 3 * MiB, .context = 500, .parallel = 4},
                                   EngineOptions{.context = 77, .kv_type = KvType::q8_0, .batch = 5, .park_memory = MiB}}) {
        const MemoryPlan plan = Engine::plan(model, o);
        Engine engine(model, o);
        const MemoryPlan& taken = engine.memory();
        EXPECT_TRUE(plan.fits);
        EXPECT_EQ(plan.total, taken.total);
        EXPECT_EQ(plan.kv, engine.kv_bytes());
        EXPECT_EQ(plan.total, plan.weights + plan.kv + plan.scratch + plan.park);
        EXPECT_EQ(plan.context, engine.context());
        EXPECT_EQ(plan.kv_positions, std::uint64_t{engine.status().pages} * engine.status().page_positions);
        EXPECT_EQ(plan.weights, model.info().weight_bytes);
    }
    Session session(model, {.context = 300, .sequences = 3});
    EXPECT_EQ(Engine::plan(model, {.context = 300}).scratch, session.scratch_bytes());
}

TEST(Memory, OneBudgetForAll) {
    const std::uint64_t weights = tiny().info().weight_bytes;
    // A model whose weights exceed it is refused, with the numbers.
    try {
        tiny(2, 1024, 2, weights - 1);
        ADD_FAILURE();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
    }
    const Model model = tiny(2, 1024, 2, 8 * MiB);
    const MemoryPlan plan = Engine::plan(model, {.context = 512});
    ASSERT_TRUE(plan.fits);
    EXPECT_EQ(plan.budget, 8 * MiB);
    const std::uint64_t rest = 8 * MiB - plan.total;
    const Engine first(model, {.context = 512});
    // What is left is less than a second one may want.
    try {
        Engine second(model, {.kv_memory = rest, .context = 512});
        ADD_FAILURE();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
        EXPECT_NE(std::string(e.what()).find("would fit"), std::string::npos) << e.what();
    }
    // Refused ones took nothing, and an engine that ends gives back what it had.
    for (int i = 0; i < 3; ++i) {
        Engine small(model, {.context = 64, .batch = 16});
        EXPECT_EQ(answer(small.submit(ids({1, 4}, 5))).tokens.size(), 5u);
    }
}

TEST(Memory, ThePlanSaysWhatFits) {
    const Model model = tiny(2, 100000, 2, 4 * MiB);
    const MemoryPlan plan = Engine::plan(model, {.context = 100000});
    EXPECT_FALSE(plan.fits);
    ASSERT_GT(plan.max_context, 0u);
    EXPECT_LT(plan.max_context, 100000u);
    // What it says is true, and about the most.
    EXPECT_TRUE(Engine::plan(model, {.context = plan.max_context}).fits);
    EXPECT_FALSE(Engine::plan(model, {.context = plan.max_context + plan.max_context / 4}).fits);
    // Without a wish the context is what fits.
    EXPECT_TRUE(Engine::plan(model).fits);
    const MemoryPlan many = Engine::plan(model, {.kv_memory = MiB, .context = 512});
    EXPECT_EQ(many.parallel, many.kv_positions / 512);
}

// The tiny model with windows on some layers: a graph made of the same operations.
graph::Graph windowed(const graph::Graph& from, const std::vector<std::uint32_t>& windows) {
    graph::Graph g;
    std::vector<graph::Value> map(from.values().size());
    const auto at = [&](graph::Value v) { return v ? map[static_cast<std::size_t>(v.id)] : graph::Value{}; };
    for (const graph::Rope& rope : from.ropes()) g.add_rope(rope);
    for (const graph::Op& op : from.ops()) {
        graph::Value out;
        const graph::Value a = at(op.in[0]), b = at(op.in[1]), c = at(op.in[2]);
        switch (op.kind) {
            case graph::OpKind::embed: out = g.embed(op.weight); break;
            case graph::OpKind::rms_norm: out = g.rms_norm(a, op.weight, op.factor); break;
            case graph::OpKind::linear: out = g.linear(a, op.weight, op.bias); break;
            case graph::OpKind::add: out = g.add(a, b); break;
            case graph::OpKind::gated: out = g.gated(op.activation, a, b); break;
            case graph::OpKind::rope: out = g.rope(a, op.heads, op.rope); break;
            case graph::OpKind::attention:
                out = g.attention(a, b, c, op.attention,
                                  {.scale = op.factor, .visibility = {.window = windows[op.layer]}});
                break;
            case graph::OpKind::take_outputs: out = g.take_outputs(a); break;
            default: ADD_FAILURE() << to_string(op.kind); break;
        }
        map[static_cast<std::size_t>(op.out.id)] = out;
    }
    g.set_logits(at(from.logits()));
    return g;
}

Model windowed_model(const std::vector<std::uint32_t>& windows) {
    const Model model = tiny(2, 4096, static_cast<std::uint32_t>(windows.size()));
    const_cast<graph::Graph&>(model.impl()->graph) = windowed(model.impl()->graph, windows);
    return model;
}

TEST(Memory, LayersOfAWindowHaveTheirOwnPages) {
    const Model model = windowed_model({70, 0, 70, 70, 70, 0, 70});
    const backend::KvGroups groups = backend::kv_groups(model.impl()->graph, KvType::f16);
    // Five layers with a window beside two without: groups of two layers.
    EXPECT_EQ(groups.count(), 4u);
    EXPECT_EQ(groups.windows, (std::vector<std::uint32_t>{0, 70, 70, 70}));
    EXPECT_EQ(groups.of_layer[1], groups.of_layer[5]);
    EXPECT_EQ(groups.of_layer[0], groups.of_layer[2]);
    EXPECT_NE(groups.of_layer[0], groups.of_layer[3]);
}

TEST(Memory, PagesBehindAWindowAreFreed) {
    const Model model = windowed_model({70, 0, 70, 130});
    const std::vector<TokenId> prompt = some_tokens(600, 3, 10);
    const Request r = ids(prompt, 60, 5);
    // A session keeps all pages.
    Session session(model, {.context = 1024});
    const Append item{.tokens = prompt};
    const auto row = session.eval(std::span(&item, 1));
    for (const std::uint32_t batch : {512u, 50u}) {
        Engine engine(model, {.context = 1024, .batch = batch, .prefix_cache = false});
        Reply reply = engine.submit(r);
        std::uint32_t most = 0;
        std::vector<TokenScore> scores;
        while (const auto piece = reply.next()) {
            scores.insert(scores.end(), piece->scores.begin(), piece->scores.end());
            most = std::max(most, engine.status().pages_used);
        }
        ASSERT_EQ(scores.size(), 60u);
        double sum = 0, max = -1e300;
        for (const float x : row) max = std::max(max, static_cast<double>(x));
        for (const float x : row) sum += std::exp(static_cast<double>(x) - max);
        EXPECT_NEAR(scores[0].logprob, static_cast<double>(row[static_cast<std::size_t>(scores[0].token)]) - max - std::log(sum), 1e-6);
        // 660 positions: 11 blocks in the group without a window, at most 3 and 4 behind windows.
        EXPECT_LE(most, 11u + 3 + 3 + 4);
        expect_no_page_lost(engine);
    }
    // With the cache: bits and hits as ever, and under pressure what is behind windows goes first.
    const Answer expected = alone(model, r);
    Engine engine(model, {.context = 1024});
    for (int i = 0; i < 3; ++i) {
        Reply reply = engine.submit(r);
        EXPECT_EQ(answers(reply, 1)[0], expected);
        if (i > 0) {
            EXPECT_EQ(reply.timings().cached_tokens, 599u);
        }
        // Other texts, so that pages run short.
        answer(engine.submit(ids(some_tokens(100 + 200 * static_cast<std::size_t>(i), 9, 10), 10)));
    }
    expect_no_page_lost(engine);
    Request slides = r;
    slides.when_full = ContextPolicy::slide;
    EXPECT_THROW(engine.submit(slides), Error);
}

}  // namespace
}  // namespace tern::test
