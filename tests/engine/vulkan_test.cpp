// Engines on a Vulkan device: the CPU's greedy texts, and what happens when the device is lost.
#include "support.h"

#include <map>

#include "backend/runtime_impl.h"
#include "support/vulkan.h"

#if TERN_TESTS_VULKAN
#include "backend/vulkan/backend.h"
#include "backend/vulkan/device.h"
#endif

namespace tern::test {
namespace {

Request greedy(std::string prompt, std::uint32_t n) {
    Request r;
    r.prompt = std::move(prompt);
    r.max_tokens = n;
    r.sampling.temperature = 0;
    return r;
}

void expect_same_texts(const std::filesystem::path& path) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    std::vector<std::string> texts[2];
    for (const bool vulkan : {false, true}) {
        const Runtime runtime(vulkan ? RuntimeOptions{.backend = "vulkan", .device = vulkan_device()}
                                     : RuntimeOptions{.threads = 2});
        Engine engine(Model::load(runtime, path), {.context = 256, .parallel = 4});
        std::vector<Reply> replies;
        for (const char* prompt : {"Once upon a time", "The", "Lily and Tom went to the park. They saw"})
            replies.push_back(engine.submit(greedy(prompt, 40)));
        for (Reply& reply : replies) texts[vulkan].push_back(reply.text());
    }
    EXPECT_EQ(texts[1], texts[0]);
}

TEST(VulkanEngine, GivesTheCpusTextOfTheBuiltInModel) {
    expect_same_texts(std::filesystem::path(TERN_SOURCE_DIR) / "examples" / "demo-model" / "tern-demo.gguf");
}

// A full context drops its older half, and the keys of the rest are rotated.
TEST(VulkanEngine, ASlidingContextGivesTheCpusText) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    TERN_REFERENCE(path, "models/stories260k.gguf");
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0}) {
        std::string texts[2];
        for (const bool vulkan : {false, true}) {
            const Runtime runtime(vulkan ? RuntimeOptions{.backend = "vulkan", .device = vulkan_device()}
                                         : RuntimeOptions{.threads = 2});
            Engine engine(Model::load(runtime, path), {.context = 96, .kv_type = type});
            Request r = greedy("Once upon a time", 200);
            r.when_full = ContextPolicy::slide;
            r.keep = 4;
            r.ignore_end = true;
            Reply reply = engine.submit(std::move(r));
            texts[vulkan] = reply.text();
            EXPECT_GT(reply.dropped(), 0u);
        }
        EXPECT_EQ(texts[1], texts[0]);
    }
}

TEST(VulkanEngine, GivesTheCpusTextOfStories260k) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    expect_same_texts(path);
}

#if TERN_TESTS_VULKAN
// The CPU and an open device.
Runtime runtime_on(const std::shared_ptr<backend::vulkan::Device>& device,
                   std::optional<std::uint32_t> layers = {}) {
    Runtime runtime({.threads = 2});
    runtime.impl()->options.gpu_layers = layers;
    runtime.impl()->backends.push_back(backend::vulkan::make_vulkan_on(device));
    return runtime;
}
std::shared_ptr<backend::vulkan::Device> open_device() {
    return backend::vulkan::Device::open({.name = vulkan_device(), .cache_folder = {}, .log = {}});
}

TEST(VulkanEngine, TellsHowMuchOfTheWeightsIsThereAndKeepsNothingWhenCancelled) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const auto device = open_device();
    for (const std::uint32_t layers : {2u, 99u}) {
        const Model model = Model::load(runtime_on(device, layers), path);
        std::vector<double> told;
        const auto note = [&](double fraction) {
            told.push_back(fraction);
            return true;
        };
        {
            const Session session(model, {.context = 64, .progress = note});
            ASSERT_GT(told.size(), 10u);
            EXPECT_EQ(told.front(), 0);
            EXPECT_EQ(told.back(), 1);
            EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
            // The last matrix was the output's: all but norms was told piece by piece.
            EXPECT_GT(told[told.size() - 2], 0.9);
            // The matrices are there for a second one.
            const std::size_t before = std::exchange(told, {}).size();
            const Session second(model, {.context = 64, .progress = note});
            EXPECT_LT(told.size(), before / 2);
        }
        device->release_staging();
        const std::uint64_t idle = device->allocated();
        for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{7}}) {
            std::size_t calls = 0;
            const auto cancel = [&](double) { return calls++ < at; };
            for (const bool engine : {false, true}) {
                calls = 0;
                try {
                    if (engine)
                        Engine(model, {.context = 64, .progress = cancel});
                    else
                        Session(model, {.context = 64, .progress = cancel});
                    ADD_FAILURE() << "went on";
                } catch (const Error& e) {
                    EXPECT_EQ(e.code(), ErrorCode::cancelled) << e.what();
                }
                EXPECT_EQ(device->allocated(), idle);
            }
        }
    }
    // An embedder copies when it is first used, and can be used after it was cancelled.
    const Model model = Model::load(runtime_on(device), path);
    bool go_on = false;
    std::size_t calls = 0;
    Embedder embedder(model, {.batch = 16, .progress = [&](double) {
                                  ++calls;
                                  return go_on;
                              }});
    const std::uint64_t idle = device->allocated();
    const std::vector<std::vector<TokenId>> text{some_tokens(10, 1, 500)}, longer{some_tokens(40, 1, 500)};
    EXPECT_EQ(calls, 0u);
    EXPECT_THROW(embedder.embed(text), Error);
    EXPECT_EQ(calls, 1u);
    EXPECT_EQ(device->allocated(), idle);
    go_on = true;
    EXPECT_EQ(embedder.embed(text).size(), 1u);
    EXPECT_GT(calls, 10u);
    const std::size_t before = calls;
    embedder.embed(longer);
    EXPECT_EQ(calls, before);
}

// What the driver leaves to this process decides which layers lie on the device, each time a plan is made.
TEST(VulkanEngine, APlanAsksHowMuchIsLeft) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const auto device = open_device();
    const Model model = Model::load(runtime_on(device), path),
                three = Model::load(runtime_on(device, 3), path);
    const EngineOptions options{.context = 64};
    const DevicePlan part = Engine::plan(three, options).devices.back();
    const std::uint64_t need = part.weights + part.kv + part.scratch, reserve = 128 * MiB;
    const auto layers = [&](std::uint64_t budget, std::uint64_t others) {
        device->pretend_budget(budget, others);
        const DevicePlan d = Engine::plan(model, options).devices.back();
        return d.copied ? d.layers : 0;
    };
    // A software device's usage is that of the whole system, and not counted.
    const std::uint64_t used = device->info().software ? 0 : 32 * MiB, taken = device->allocated();
    EXPECT_EQ(layers(reserve + taken + need + used, 32 * MiB), 3u);
    EXPECT_EQ(Engine::plan(model, options).devices.back().memory, need);
    EXPECT_EQ(layers(reserve + taken + need + used - 1, 32 * MiB), 2u);
    EXPECT_EQ(layers(0, 0), 0u);
    EXPECT_EQ(layers(reserve + taken + 64 * MiB, 0), 5u);
    // More than there is helps nothing.
    device->pretend_budget(~std::uint64_t{0}, 0);
    EXPECT_EQ(device->budget(), device->info().memory);
    EXPECT_EQ(layers(reserve + taken + need + used, 32 * MiB), 3u);
    const Engine engine(model, options);
    EXPECT_EQ(engine.memory().layers_left, 2u);
}

// Whatever a shader sees of a buffer: what the plan says fits can be made, and nothing else.
TEST(VulkanEngine, ThePlanKnowsWhatAShaderSees) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const auto device = open_device();
    std::map<std::string, int> outcomes;
    for (const std::optional<std::uint32_t> layers :
         {std::optional<std::uint32_t>(), std::optional(3u), std::optional(99u)}) {
        const Model model = Model::load(runtime_on(device, layers), path);
        for (const std::uint64_t binding : {20u << 10, 60u << 10, 100u << 10, 300u << 10, 16u << 20})
            for (const std::uint32_t context : {0u, 64u, 512u})
                for (const std::uint32_t batch : {16u, 512u}) {
                    device->limit_binding(binding);
                    const EngineOptions options{.context = context, .batch = batch};
                    const MemoryPlan plan = Engine::plan(model, options);
                    const std::uint64_t before = device->allocated();
                    const std::string where =
                        std::to_string(binding) + " " + std::to_string(context) + " " + std::to_string(batch);
                    try {
                        Engine engine(model, options);
                        EXPECT_TRUE(plan.fits) << where;
                        const Reply reply = engine.submit(ids(some_tokens(40, 1, 500), 2));
                        ++outcomes[plan.devices.back().copied ? "made" : "on the CPU"];
                    } catch (const Error& e) {
                        EXPECT_FALSE(plan.fits) << where << ": " << e.what();
                        EXPECT_NE(
                            std::string(e.what()).find("MiB that a shader of this device sees") !=
                                std::string::npos,
                            std::string(e.what()).find("a shader sees no more than") != std::string::npos)
                            << e.what();
                        EXPECT_EQ(device->allocated(), before);
                        ++outcomes["refused"];
                    }
                    if (!layers) {
                        EXPECT_TRUE(plan.fits) << where;
                        EXPECT_EQ(plan.layers_left == 0, plan.why_left.empty()) << where;
                    }
                }
    }
    for (const char* outcome : {"made", "on the CPU", "refused"}) EXPECT_GT(outcomes[outcome], 3) << outcome;
}

TEST(VulkanEngine, ALostDeviceEndsItsRequestsAndNothingElse) {
    if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const auto device =
        backend::vulkan::Device::open({.name = vulkan_device(), .cache_folder = {}, .log = {}});
    const Runtime lost({.backend = "ref"}), well({.threads = 1});
    lost.impl()->backends[0] = backend::vulkan::make_vulkan_on(device);
    Engine one(Model::load(lost, path), {.context = 256}), other(Model::load(well, path), {.context = 256});
    std::vector<Reply> replies;
    for (int i = 0; i < 3; ++i) {
        Request r = greedy("Once upon a time", 200);
        r.ignore_end = true;
        replies.push_back(one.submit(std::move(r)));
    }
    Reply elsewhere = other.submit(greedy("Once upon a time", 20));
    replies[0].next();  // it runs
    device->inject(VK_ERROR_DEVICE_LOST);
    for (Reply& reply : replies) {
        EXPECT_EQ(reply.finish_reason(), FinishReason::error);
        EXPECT_NE(std::string(reply.error()->what()).find("VK_ERROR_DEVICE_LOST"), std::string::npos);
    }
    EXPECT_NE(elsewhere.finish_reason(), FinishReason::error);
    Reply later = one.submit(greedy("The", 5));
    EXPECT_EQ(later.finish_reason(), FinishReason::error);
    device->inject(VK_SUCCESS);
    Reply again = one.submit(greedy("The", 5));
    EXPECT_EQ(again.finish_reason(), FinishReason::length);
}
#endif

}  // namespace
}  // namespace tern::test
