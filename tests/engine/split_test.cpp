// A model whose layers lie on several devices gives what it gives on one, and lies where the plan says.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "backend/runtime_impl.h"
#include "engine/machine.h"
#include "engine/support.h"
#include "models/model_impl.h"
#include "support/nmse.h"
#include "support/vulkan.h"

namespace tern::test {
namespace {

// A device that computes on the CPU, so that a split must give the bits of the whole: it has memory of its own and counts
// the weights that were compiled for it.
class CpuDevice final : public backend::Backend {
public:
    CpuDevice(std::uint32_t number, std::uint64_t memory)
        : cpu_(backend::make_backend("cpu", "", 2)), number_(number), memory_(memory) {}
    std::string name() const override { return "device"; }
    std::string isa() const override { return cpu_->isa(); }
    unsigned threads() const noexcept override { return cpu_->threads(); }
    std::unique_ptr<backend::Program> compile(const graph::Graph& graph, const backend::Limits& limits) override {
        return cpu_->compile(graph, limits);
    }
    std::unique_ptr<backend::KvMemory> make_kv(const graph::Graph& graph, const backend::KvGroups& groups, KvType type,
                                               std::uint32_t pages) override {
        return cpu_->make_kv(graph, groups, type, pages);
    }
    std::uint64_t scratch_bytes(const graph::Graph& graph, const backend::Limits& limits) override {
        return cpu_->scratch_bytes(graph, limits);
    }
    backend::WeightBytes weight_bytes(const graph::Graph& graph) override { return {graph::weight_bytes(graph), 0}; }
    // Nothing is copied, but told piece by piece.
    std::shared_ptr<const void> copy_weights(const graph::Graph& graph,
                                             const backend::Copied& copied) override {
        for (const graph::Op& op : graph.ops())
            if (op.weight) copied(op.weight.bytes());
        return std::make_shared<int>(0);
    }
    backend::PageLimit page_limit(const graph::Graph&, const backend::KvGroups&, KvType) const override {
        return limit;
    }
    std::optional<backend::Obstacle> obstacle(const graph::Graph& graph,
                                              const backend::Limits&) const override {
        for (const graph::Op& op : graph.ops())
            if (!refused.empty() && op.weight.name == refused)
                return backend::Obstacle{ErrorCode::unsupported, "device: cannot multiply '" + refused + "'"};
        return std::nullopt;
    }
    backend::Place place() const override {
        return {.name = "device " + std::to_string(number_), .number = number_, .device = true, .memory = memory_};
    }

    backend::PageLimit limit;
    std::string refused;  // the weight that it cannot multiply with

private:
    const std::unique_ptr<backend::Backend> cpu_;
    const std::uint32_t number_;
    const std::uint64_t memory_;
};

struct Log {
    std::vector<std::pair<LogLevel, std::string>> lines;
    bool has(LogLevel level, const std::string& part) const {
        for (const auto& [l, text] : lines)
            if (l == level && text.find(part) != std::string::npos) return true;
        return false;
    }
};

// The CPU and a device for each of `memory` (0: boundless).
Runtime runtime_with(std::vector<std::uint64_t> memory, std::optional<std::uint32_t> layers, Log* log = nullptr) {
    RuntimeOptions options{.threads = 2};
    if (log) options.log = [log](LogLevel level, std::string_view text) { log->lines.emplace_back(level, text); };
    Runtime runtime(std::move(options));
    runtime.impl()->options.gpu_layers = layers;
    for (const std::uint64_t bytes : memory)
        runtime.impl()->backends.push_back(
            std::make_unique<CpuDevice>(static_cast<std::uint32_t>(runtime.impl()->backends.size()), bytes));
    return runtime;
}

Model model_on(const Runtime& runtime, std::uint32_t layers = 2, std::uint32_t experts = 0) {
    TinyModel m = tiny_model(experts, DType::F32, layers);
    m.set("llama.context_length", TinyModel::u32(1024));
    static std::list<std::vector<std::byte>> files;
    files.push_back(m.bytes());
    return Model::load(runtime, gguf::File::parse(files.back(), "tiny.gguf"));
}

constexpr std::uint32_t kAll = 1000;

// Logits of all tokens, in pieces of several sizes.
std::vector<float> logits(const Model& model, std::span<const TokenId> tokens, KvType type = KvType::f32) {
    Session session(model, {.context = 256, .kv_type = type, .batch = 64});
    std::vector<float> all;
    for (std::size_t i = 0, n = 1; i < tokens.size(); i += n, n = n * 3 % 64 + 1) {
        n = std::min(n, tokens.size() - i);
        const Append item{.tokens = tokens.subspan(i, n), .all_logits = true};
        const auto rows = session.eval(std::span(&item, 1));
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<std::string> layers_of(const MemoryPlan& plan) {
    std::vector<std::string> list;
    for (const DevicePlan& d : plan.devices) list.push_back(d.device + ": " + std::to_string(d.layers));
    return list;
}
using Layers = std::vector<std::string>;

class SplitModel : public testing::TestWithParam<const char*> {};

TEST_P(SplitModel, GivesTheBitsOfTheWhole) {
    TERN_REFERENCE(path, std::string("arch/") + GetParam() + ".gguf");
    std::vector<TokenId> tokens = some_tokens(150, 5, 320);
    const std::vector<float> whole = logits(Model::load(Runtime({.threads = 2}), path), tokens);
    const auto count = [&](const Runtime& runtime, std::uint32_t n) {
        const Model model = Model::load(runtime, path);
        EXPECT_TRUE(same_bits(logits(model, tokens), whole)) << n << " layers on devices";
        return model.info().layers;
    };
    std::uint32_t layers = 0;
    for (std::uint32_t n = 0; n <= layers + 1; ++n) layers = count(runtime_with({0}, n), n);
    // Three parts, and as many as there are layers.
    count(runtime_with({0, 0}, layers - 1), layers - 1);
    count(runtime_with(std::vector<std::uint64_t>(layers + 2, 0), kAll), kAll);
}

INSTANTIATE_TEST_SUITE_P(Models, SplitModel,
                         testing::Values("llama", "mixtral", "gemma2", "gemma3", "gpt-oss", "deepseek2", "gpt2", "falcon",
                                         "phi2", "phi3", "olmo2", "granite", "command-r", "qwen3moe"),
                         [](const auto& p) {
                             std::string name = p.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(Split, EveryKvTypeAndWindowedLayers) {
    const std::vector<TokenId> tokens = some_tokens(200, 3, 10);
    for (const KvType type : {KvType::f16, KvType::q8_0, KvType::q4_0}) {
        const std::vector<float> whole = logits(model_on(Runtime({.threads = 2}), 4), tokens, type);
        EXPECT_TRUE(same_bits(logits(model_on(runtime_with({0}, 3), 4), tokens, type), whole));
    }
}

// What the engine does with pages: shared beginnings, forks, parking with and without copies, shifting.
TEST(Split, TheEngineGivesTheSameAnswers) {
    const Model whole = model_on(Runtime({.threads = 2}), 3), split = model_on(runtime_with({0, 0}, 2), 3);
    ASSERT_EQ(layers_of(Engine::plan(split)), (Layers{"cpu: 1", "device 1: 1", "device 2: 1"}));
    const std::uint64_t page = Engine::plan(whole, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    const EngineOptions cases[] = {{.kv_memory = 100 * page, .context = 320},
                                   {.kv_memory = 6 * page, .context = 320, .prefill_budget = 40},
                                   {.kv_memory = 6 * page, .context = 320, .prefill_budget = 40, .park_memory = MiB},
                                   {.kv_memory = 6 * page, .context = 320, .prefix_cache = false}};
    std::vector<Request> requests;
    std::vector<std::vector<Answer>> expected;
    Engine reference(whole, {});
    for (unsigned i = 0; i < 6; ++i) {
        requests.push_back(ids(some_tokens(20 + i * 26, i % 3 ? 7 : i, 10), 70, i));
        if (i % 4 == 0) requests.back().samples = 2;
        Reply reply = reference.submit(requests.back());
        expected.push_back(answers(reply, requests.back().samples));
    }
    for (const EngineOptions& options : cases) {
        Engine engine(split, options);
        std::vector<Reply> running;
        for (const Request& r : requests) running.push_back(engine.submit(r));
        for (std::size_t i = 0; i < running.size(); ++i)
            EXPECT_EQ(answers(running[i], requests[i].samples), expected[i]) << i;
        if (options.kv_memory == 6 * page && !kSanitized) {
            EXPECT_GT(engine.status().parks, 0u);
        }
        expect_no_page_lost(engine);
    }
    Request slides = ids(some_tokens(100, 2, 10), 150);
    slides.when_full = ContextPolicy::slide;
    Engine a(whole, {.context = 128}), b(split, {.context = 128});
    EXPECT_EQ(answer(b.submit(slides)), answer(a.submit(slides)));
}

TEST(Split, ASavedSequenceNeedsTheSameSplit) {
    const std::filesystem::path file = std::filesystem::path(testing::TempDir()) / "tern_split.kv";
    const std::vector<TokenId> tokens = some_tokens(150, 4, 10);
    const Request request = ids([&] {
        std::vector<TokenId> more = tokens;
        more.push_back(5);
        return more;
    }(), 20);
    const Answer expected = alone(model_on(Runtime({.threads = 2}), 3), request);
    Engine(model_on(runtime_with({0}, 2), 3)).save(tokens, file);
    Engine same(model_on(runtime_with({0}, 2), 3)), other(model_on(runtime_with({0}, 1), 3)),
        whole(model_on(Runtime({.threads = 2}), 3));
    EXPECT_EQ(same.restore(file), tokens);
    Reply reply = same.submit(request);
    EXPECT_EQ(answers(reply, 1)[0], expected);
    EXPECT_EQ(reply.timings().cached_tokens, tokens.size());
    // Their pages have the same size, and other contents.
    EXPECT_THROW(other.restore(file), Error);
    EXPECT_THROW(whole.restore(file), Error);
    std::filesystem::remove(file);
}

TEST(Split, NumbersOfLayers) {
    const auto plan = [](std::vector<std::uint64_t> memory, std::uint32_t layers) {
        return layers_of(Engine::plan(model_on(runtime_with(std::move(memory), layers), 6), {.context = 128}));
    };
    EXPECT_EQ(plan({0}, 0), (Layers{"cpu: 6"}));
    EXPECT_EQ(plan({0}, 1), (Layers{"cpu: 5", "device 1: 1"}));
    EXPECT_EQ(plan({0}, 6), (Layers{"cpu: 0", "device 1: 6"}));  // the embedding stays
    EXPECT_EQ(plan({0}, 7), (Layers{"device 1: 6"}));
    EXPECT_EQ(plan({0}, 4'000'000'000), (Layers{"device 1: 6"}));
    // In proportion to the memory.
    EXPECT_EQ(plan({GiB, 2 * GiB}, kAll), (Layers{"device 1: 2", "device 2: 4"}));
    EXPECT_EQ(plan({GiB, GiB, GiB}, 3), (Layers{"cpu: 3", "device 1: 1", "device 2: 1", "device 3: 1"}));
    EXPECT_EQ(plan({GiB, GiB, GiB}, 1), (Layers{"cpu: 5", "device 2: 1"}));
    EXPECT_EQ(plan({GiB, 100 * GiB}, kAll), (Layers{"device 2: 6"}));
}

// Sizes that can be counted by hand: 32 columns, 2 KV heads of 8 numbers, 64 hidden ones.
TEST(Split, ThePlanCountsEachDevice) {
    constexpr std::uint64_t kLayer = 4 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32), kEmbedding = 4 * 10 * 32,
                            kOutput = 4 * (10 * 32 + 32), kKv = 128 * 2 * 2 * 8 * 2;
    const Model model = model_on(runtime_with({0}, 2), 6);
    const MemoryPlan p = Engine::plan(model, {.context = 128});
    ASSERT_EQ(p.devices.size(), 2u);
    EXPECT_EQ(p.devices[0].weights, kEmbedding + 4 * kLayer);
    EXPECT_EQ(p.devices[1].weights, kOutput + 2 * kLayer);
    EXPECT_EQ(p.devices[0].kv, 4 * kKv);
    EXPECT_EQ(p.devices[1].kv, 2 * kKv);
    EXPECT_EQ(p.kv, 6 * kKv);
    EXPECT_EQ(p.scratch, p.devices[0].scratch + p.devices[1].scratch);
    EXPECT_GT(p.devices[0].scratch, 0u);
    EXPECT_EQ(p.weights, model.info().weight_bytes);
    EXPECT_EQ(p.devices[0].backend, "cpu");
    EXPECT_FALSE(p.devices[0].copied);
    EXPECT_TRUE(p.devices[1].copied);
    EXPECT_TRUE(p.fits);
    const Engine engine(model, {.context = 128});
    EXPECT_EQ(engine.memory().devices[1].kv, p.devices[1].kv);
    EXPECT_EQ(engine.kv_bytes(), p.kv);
    // Without devices there is one entry.
    const MemoryPlan one = Engine::plan(model_on(Runtime({.threads = 2}), 6), {.context = 128});
    ASSERT_EQ(one.devices.size(), 1u);
    EXPECT_EQ(one.devices[0].weights, one.weights);
    EXPECT_EQ(one.devices[0].kv, one.kv);
    EXPECT_EQ(one.devices[0].scratch, one.scratch);
}

std::uint64_t on_device(const MemoryPlan& plan) {
    const DevicePlan& d = plan.devices.back();
    return d.weights + d.kv + d.scratch;
}

TEST(Split, AsManyLayersAsFitAreOnTheDevice) {
    const EngineOptions options{.context = 256};
    const std::vector<TokenId> tokens = some_tokens(100, 5, 10);
    const std::vector<float> whole = logits(model_on(Runtime({.threads = 2}), 6), tokens);
    for (const std::uint32_t n : {1u, 2u, 5u, 6u, 7u}) {
        const std::uint64_t need = on_device(Engine::plan(model_on(runtime_with({0}, n), 6), options));
        Log log, less_log;
        const Model exact = model_on(runtime_with({need}, {}, &log), 6), less = model_on(runtime_with({need - 1}, {}, &less_log), 6);
        const MemoryPlan p = Engine::plan(exact, options), q = Engine::plan(less, options);
        EXPECT_TRUE(p.fits);
        EXPECT_TRUE(q.fits);
        EXPECT_EQ(p.layers_left, n > 6 ? 0 : 6 - n);
        if (n <= 6) {
            EXPECT_EQ(q.layers_left, 6 - (n - 1)) << n;
        } else {
            EXPECT_EQ(layers_of(q), (Layers{"cpu: 0", "device 1: 6"}));
        }
        EXPECT_EQ(p.devices.back().memory, need);
        EXPECT_EQ(on_device(p), need);
        // As planned so done.
        Engine engine(exact, options), other(less, options);
        EXPECT_EQ(log.has(LogLevel::info, " on device 1 ("), n <= 6);
        EXPECT_EQ(less_log.has(LogLevel::warning, "6 layers on the CPU"), n == 1);
        EXPECT_TRUE(same_bits(logits(exact, tokens), whole));
        EXPECT_TRUE(same_bits(logits(less, tokens), whole));
        // A number that was asked for is kept to, or refused with what would help.
        const Model forced = model_on(runtime_with({need - 1}, n), 6);
        EXPECT_FALSE(Engine::plan(forced, options).fits);
        EXPECT_FALSE(Engine::plan(forced, options).devices.back().fits);
        try {
            Engine refused(forced, options);
            ADD_FAILURE() << "did not refuse " << n;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
            EXPECT_NE(std::string(e.what()).find("gpu_layers"), std::string::npos) << e.what();
            EXPECT_NE(std::string(e.what()).find("device 1"), std::string::npos) << e.what();
        }
    }
}

TEST(Split, AContextThatNobodyAskedForIsShorterBeforeLayersLeave) {
    TinyModel m = tiny_model(0, DType::F32, 4);
    m.set("llama.context_length", TinyModel::u32(32768));
    const std::vector<std::byte> bytes = m.bytes();
    const auto plan = [&](std::uint64_t memory, std::optional<std::uint32_t> layers, std::uint32_t context) {
        return Engine::plan(Model::load(runtime_with({memory}, layers), gguf::File::parse(bytes, "tiny.gguf")),
                            {.context = context});
    };
    const std::uint64_t half = on_device(plan(0, kAll, 16384)), kept = on_device(plan(0, kAll, 8192));
    const MemoryPlan p = plan(half, {}, 0);
    EXPECT_EQ(layers_of(p), (Layers{"device 1: 4"}));
    EXPECT_EQ(p.context, 16384u);
    EXPECT_EQ(layers_of(plan(kept, {}, 0)), (Layers{"device 1: 4"}));
    EXPECT_EQ(plan(kept, {}, 0).context, 8192u);
    EXPECT_EQ(plan(kept - 1, {}, 0).devices.size(), 2u);
    EXPECT_EQ(plan(kept - 1, {}, 0).context, 8192u);
    // One that was asked for stays.
    EXPECT_EQ(plan(half, {}, 32768).context, 32768u);
    EXPECT_EQ(plan(half, {}, 32768).devices.size(), 2u);
    // A given number of layers stays, too.
    const MemoryPlan forced = plan(half, kAll, 0);
    EXPECT_EQ(layers_of(forced), (Layers{"device 1: 4"}));
    EXPECT_TRUE(forced.fits);
    EXPECT_LT(forced.context, 32768u);
    EXPECT_GE(forced.context, 16384u - 256);
}

TEST(Split, OneFractionOfAllDevicesIsTold) {
    const Model model = model_on(runtime_with({0, 0}, 4), 5);
    const MemoryPlan plan = Engine::plan(model, {.context = 64});
    ASSERT_EQ(plan.devices.size(), 3u);
    std::vector<double> told;
    const auto note = [&](double fraction) {
        told.push_back(fraction);
        return true;
    };
    const Session session(model, {.context = 64, .progress = note});
    ASSERT_GT(told.size(), 30u);
    EXPECT_EQ(told.front(), 0);
    EXPECT_EQ(told.back(), 1);
    EXPECT_EQ(std::adjacent_find(told.begin(), told.end(), std::greater_equal<>()), told.end())
        << "they ascend";
    // The first device's share is met on the way.
    const double first = static_cast<double>(plan.devices[1].weights) /
                         static_cast<double>(plan.devices[1].weights + plan.devices[2].weights);
    EXPECT_TRUE(std::any_of(told.begin(), told.end(), [&](double f) { return std::abs(f - first) < 1e-9; }));
    const std::vector<double> once = std::exchange(told, {});
    const Engine engine(model, {.context = 64, .progress = note});
    EXPECT_EQ(told, once);
    // Cancelled at each of them.
    for (std::size_t i = 0; i < once.size(); ++i) {
        std::size_t calls = 0;
        try {
            Session(model, {.context = 64, .progress = [&](double) { return calls++ < i; }});
            ADD_FAILURE() << "went on";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::cancelled);
            EXPECT_NE(std::string(e.what()).find("device "), std::string::npos) << e.what();
        }
        EXPECT_EQ(calls, i + 1);
    }
    // Where nothing is copied nothing is told.
    told.clear();
    const Session on_cpu(model_on(Runtime({.threads = 2})), {.context = 64, .progress = note});
    const Session none(model_on(runtime_with({0}, 0)), {.context = 64, .progress = note});
    EXPECT_TRUE(told.empty());
}

CpuDevice& device_of(const Runtime& runtime) {
    return static_cast<CpuDevice&>(*runtime.impl()->backends[1]);
}

// A device that takes few pages, as a shader sees no more of a buffer, has a shorter context; one that was
// asked for keeps its length, and the layers are on the CPU.
TEST(Split, ADeviceThatTakesFewPages) {
    TinyModel m = tiny_model(0, DType::F32, 4);
    m.set("llama.context_length", TinyModel::u32(32768));
    const std::vector<std::byte> bytes = m.bytes();
    Log log;
    const auto model = [&](std::uint64_t pages, std::optional<std::uint32_t> layers) {
        const Runtime runtime = runtime_with({0}, layers, &log);
        device_of(runtime).limit = {pages, "device: sees 12 MiB of a layer's cache"};
        return Model::load(runtime, gguf::File::parse(bytes, "tiny.gguf"));
    };
    const auto plan = [&](std::uint64_t pages, std::optional<std::uint32_t> layers, EngineOptions options) {
        return Engine::plan(model(pages, layers), options);
    };
    for (const std::optional<std::uint32_t> layers : {std::optional<std::uint32_t>(), std::optional(kAll)}) {
        const MemoryPlan p = plan(200, layers, {});
        EXPECT_EQ(layers_of(p), (Layers{"device 1: 4"}));
        EXPECT_EQ(p.context, 200u * 64);
        EXPECT_TRUE(p.fits);
        EXPECT_EQ(p.why_left, "");
        EXPECT_TRUE(plan(200, layers, {.context = 200 * 64}).fits);
    }
    const Engine shorter(model(200, {}), {});
    EXPECT_TRUE(log.has(LogLevel::warning, "12800: device: sees 12 MiB"));
    EXPECT_EQ(plan(128, {}, {}).context, 8192u);
    for (const MemoryPlan& p : {plan(127, {}, {}), plan(200, {}, {.context = 200 * 64 + 1})}) {
        EXPECT_EQ(layers_of(p), (Layers{"cpu: 4"}));
        EXPECT_EQ(p.layers_left, 4u);
        EXPECT_EQ(p.why_left, "device: sees 12 MiB of a layer's cache");
        EXPECT_TRUE(p.fits);
    }
    const Engine on_cpu(model(127, {}), {.context = 8192});
    EXPECT_TRUE(log.has(LogLevel::warning, "4 layers on the CPU: device: sees 12 MiB"));
    // A number of layers and a context that were both asked for.
    const MemoryPlan forced = plan(200, 2, {.context = 200 * 64 + 1});
    EXPECT_FALSE(forced.fits);
    EXPECT_EQ(forced.devices.back().obstacle, "device: sees 12 MiB of a layer's cache");
    EXPECT_EQ(forced.max_context, 200u * 64);
    EXPECT_EQ(forced.layers_fit, 0u);
    try {
        Engine(model(200, 2), {.context = 200 * 64 + 1});
        ADD_FAILURE() << "did not refuse";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
        for (const char* part : {"12 MiB", "12800", "gpu_layers"})
            EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
    // A cache that is larger than need be is made smaller before layers leave.
    const std::uint64_t page = plan(200, {}, {.context = 64}).kv_per_token * 64;
    for (const std::optional<std::uint32_t> layers : {std::optional<std::uint32_t>(), std::optional(kAll)}) {
        const MemoryPlan less = plan(200, layers, {.kv_memory = 300 * page, .context = 6400});
        EXPECT_EQ(layers_of(less), (Layers{"device 1: 4"}));
        EXPECT_TRUE(less.fits);
        EXPECT_EQ(less.kv, 200 * page);
        EXPECT_EQ(less.parallel, 2u);
        EXPECT_EQ(less.less_kv, "device: sees 12 MiB of a layer's cache");
        EXPECT_EQ(plan(300, layers, {.kv_memory = 300 * page, .context = 6400}).less_kv, "");
    }
    const Engine less(model(200, {}), {.kv_memory = 300 * page, .context = 6400});
    EXPECT_EQ(less.kv_bytes(), 200 * page);
    EXPECT_TRUE(log.has(LogLevel::warning, "device: sees 12 MiB"));
    EXPECT_EQ(layers_of(plan(99, {}, {.kv_memory = 300 * page, .context = 6400})), (Layers{"cpu: 4"}));
}

// The first layers stay on the CPU up to the one that the device cannot compute, by plan; where a number of
// layers asks for it, the request is refused.
TEST(Split, ALayerThatADeviceCannotCompute) {
    const std::vector<TokenId> tokens = some_tokens(100, 5, 10);
    const std::vector<float> whole = logits(model_on(Runtime({.threads = 2}), 6), tokens);
    struct Case {
        const char* refused;
        std::uint32_t fits;
    };
    for (const Case& c :
         {Case{"blk.2.ffn_up.weight", 3}, Case{"blk.5.attn_q.weight", 0}, Case{"output.weight", 0},
          Case{"blk.0.ffn_norm.weight", 5}, Case{"token_embd.weight", 6}}) {
        Log log;
        const auto model = [&](std::optional<std::uint32_t> layers) {
            const Runtime runtime = runtime_with({0}, layers, &log);
            device_of(runtime).refused = c.refused;
            return model_on(runtime, 6);
        };
        const Model own = model({});
        const MemoryPlan p = Engine::plan(own, {.context = 128});
        EXPECT_TRUE(p.fits);
        EXPECT_EQ(p.layers_left, 6 - c.fits) << c.refused;
        EXPECT_NE(p.why_left.find(c.refused), std::string::npos) << p.why_left;
        EXPECT_TRUE(same_bits(logits(own, tokens), whole));
        EXPECT_TRUE(log.has(c.fits == 0 ? LogLevel::warning : LogLevel::info, c.refused));
        // One layer more than it can.
        const Model forced = model(c.fits + 1);
        const MemoryPlan q = Engine::plan(forced, {.context = 128});
        EXPECT_FALSE(q.fits);
        EXPECT_EQ(q.layers_fit, c.fits);
        EXPECT_NE(q.devices.back().obstacle.find(c.refused), std::string::npos);
        try {
            Session(forced, {.context = 128});
            ADD_FAILURE() << "did not refuse " << c.refused;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::unsupported);
            EXPECT_NE(std::string(e.what()).find(c.refused), std::string::npos) << e.what();
            EXPECT_NE(std::string(e.what()).find("gpu_layers " + std::to_string(c.fits)), std::string::npos)
                << e.what();
        }
        EXPECT_TRUE(Engine::plan(model(c.fits), {.context = 128}).fits);
    }
}

TEST(Split, AModelThatCannotBeCut) {
    // The embedding is looked at again in the second layer.
    const auto odd = [](const Model& model) {
        graph::Graph g;
        const graph::Graph& from = model.impl()->graph;
        const graph::Weight table = from.ops()[0].weight;
        const graph::Value x = g.embed(table), y = g.scale(x, 0.5f);
        const graph::Value a = g.attention(y, y, y, {.q = 2, .kv = 2, .k_dim = 16, .v_dim = 16}, {});
        const graph::Value b = g.attention(a, a, a, {.q = 2, .kv = 2, .k_dim = 16, .v_dim = 16}, {});
        g.set_logits(g.linear(g.take_outputs(g.add(b, x)), table));
        const_cast<graph::Graph&>(from) = std::move(g);
        return model;
    };
    Log log;
    const Model forced = odd(model_on(runtime_with({0}, 1)));
    EXPECT_THROW(Engine(forced, {.context = 64}), Error);
    const Model small = odd(model_on(runtime_with({1000}, {}, &log)));
    EXPECT_EQ(layers_of(Engine::plan(small, {.context = 64})), (Layers{"cpu: 2"}));
    const Engine engine(small, {.context = 64});
    EXPECT_TRUE(log.has(LogLevel::warning, "cannot be split"));
    const Model roomy = odd(model_on(runtime_with({GiB}, {})));
    EXPECT_EQ(layers_of(Engine::plan(roomy, {.context = 64})), (Layers{"device 1: 2"}));
}

TEST(Split, WithoutDevicesNoneCanBeNamed) {
    EXPECT_THROW(Runtime({.backend = "cpu", .gpu_layers = 3}), Error);
    EXPECT_THROW(Runtime({.backend = "cpu", .device = "0"}), Error);
    Runtime({.backend = "cpu", .gpu_layers = 0});
}

// ---- with a graphics device ------------------------------------------------------------------------------------------

Runtime vulkan(std::optional<std::uint32_t> layers) {
    return Runtime({.threads = 2, .backend = "vulkan", .device = vulkan_device(), .gpu_layers = layers});
}

// Wherever its layers lie, a model gives the CPU's bits; on a device whose arithmetic is not the CPU's, numbers near them.
void equals_the_cpu(const std::filesystem::path& path, std::size_t count, unsigned vocab, double bound) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    const std::vector<TokenId> tokens = some_tokens(count, 5, vocab);
    const std::vector<float> cpu = logits(Model::load(Runtime({.threads = 2}), path), tokens);
    std::uint32_t layers = 0;
    for (std::uint32_t n = 0; n <= layers + 1; ++n) {
        const Model model = Model::load(vulkan(n), path);
        layers = model.info().layers;
        const MemoryPlan plan = Engine::plan(model, {.context = 256});
        std::uint32_t on_device = 0;
        for (const auto& device : plan.devices)
            if (device.copied) on_device += device.layers;
        EXPECT_EQ(on_device, std::min(n, layers));
        const std::vector<float> got = logits(model, tokens);
        ASSERT_EQ(got.size(), cpu.size());
        if (n == 0 || vulkan_is_exact()) {
            EXPECT_TRUE(same_bits(got, cpu)) << n << " layers on the device: NMSE " << nmse(got, cpu);
        } else {
            EXPECT_LT(nmse(got, cpu), bound) << n;
        }
    }
}

TEST(SplitVulkan, EveryNumberOfLayersEqualsTheCpu) {
    TERN_REFERENCE(path, "arch/llama.gguf");
    equals_the_cpu(path, 96, 320, 1e-9);
}

TEST(SplitVulkan, TheDemoModelEqualsTheCpu) {
    const std::filesystem::path path = std::filesystem::path(TERN_SOURCE_DIR) / "examples/demo-model/tern-demo.gguf";
    const std::uint32_t layers = Model::load(Runtime({.threads = 2}), path).info().layers;
    // tests/models/tolerance_test.cpp derives 36 / (12 · 127²) for each quantised product, 4 of them in a row in a layer.
    equals_the_cpu(path, 40, 200, (4 * layers + 1) * 36.0 / (12.0 * 127 * 127));
}

TEST(SplitVulkan, TheEngineRunsOnBoth) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    const Model model = Model::load(vulkan(3), path);
    const MemoryPlan plan = Engine::plan(model, {.context = 256});
    ASSERT_EQ(plan.devices.size(), 2u);
    EXPECT_EQ(plan.devices[0].layers, 2u);
    EXPECT_EQ(plan.devices[1].layers, 3u);
    EXPECT_GT(plan.devices[1].memory, plan.devices[1].weights);
    // Pages are shared, forked and taken from others on both; the text is the CPU's, whose best token is far ahead of the
    // second one along the reference continuations.
    Request r;
    r.prompt = "Once upon a time";
    r.max_tokens = 60;
    r.sampling.temperature = 0;
    Engine cpu(Model::load(Runtime({.threads = 2}), path), {.context = 256}), both(model, {.context = 256});
    const Answer expected = answer(cpu.submit(r));
    EXPECT_EQ(answer(both.submit(r)).text, expected.text);
    Reply again = both.submit(r);
    EXPECT_EQ(answers(again, 1)[0].text, expected.text);
    EXPECT_GT(again.timings().cached_tokens, 0u);
    expect_no_page_lost(both);
}

// The same device opened twice stands for two: the shaders are the same, and so are the bits.
TEST(SplitVulkan, TwoDevices) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const std::vector<TokenId> tokens = some_tokens(100, 5, 512);
    const Runtime two = vulkan(4);
    two.impl()->backends.push_back(backend::make_backend(
        "vulkan", {.isa = {}, .threads = 1, .device = vulkan_device(), .cache_folder = {}, .log = {}}));
    const Model one = Model::load(vulkan(4), path), both = Model::load(two, path);
    const MemoryPlan plan = Engine::plan(both, {.context = 256});
    ASSERT_EQ(plan.devices.size(), 3u);
    EXPECT_EQ(plan.devices[0].layers, 1u);
    EXPECT_EQ(plan.devices[1].layers, 2u);
    EXPECT_EQ(plan.devices[2].layers, 2u);
    EXPECT_TRUE(same_bits(logits(both, tokens), logits(one, tokens)));
}

TEST(SplitVulkan, DevicesNamedTwice) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    const std::string name = vulkan_device();
    try {
        Runtime({.backend = "vulkan", .device = name + "," + name});
        ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
        EXPECT_NE(std::string(e.what()).find("twice"), std::string::npos) << e.what();
    }
    EXPECT_THROW(Runtime({.backend = "vulkan", .device = name + ","}), Error);
    EXPECT_THROW(Runtime({.backend = "vulkan", .device = name + ",no such device"}), Error);
    // The whole name of Mesa's software device has a comma between parentheses.
    for (const DeviceInfo& d : list_devices())
        if (d.backend == "vulkan" && d.unusable.empty()) Runtime({.backend = "vulkan", .device = d.name});
}

}  // namespace
}  // namespace tern::test
