// Engines on a Vulkan device: the CPU's greedy texts, and what happens when the device is lost.
#include "support.h"

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
    for (const KvType type : {KvType::f32, KvType::f16}) {
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
