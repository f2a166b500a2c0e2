// Whole models on a Vulkan device against the CPU.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <sstream>

#include "models/model_impl.h"
#include "support/nmse.h"
#include "support/reference_data.h"
#include "support/sanitizer.h"
#include "support/vulkan.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

std::vector<float> logits(const Model& model, std::span<const TokenId> tokens, std::size_t chunk, KvType kv) {
    Session session(model, {.context = 256, .kv_type = kv, .batch = 64});
    std::vector<float> all;
    for (std::size_t i = 0; i < tokens.size(); i += chunk) {
        const Append item{.tokens = tokens.subspan(i, std::min(chunk, tokens.size() - i)),
                          .all_logits = true};
        const auto rows = session.eval(std::span(&item, 1));
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

std::vector<fs::path> reference_models() {
    std::vector<fs::path> models;
    for (const char* folder : {"arch", "quants"})
        if (const fs::path dir = test::reference_data() / folder; fs::exists(dir))
            for (const auto& entry : fs::directory_iterator(dir))
                if (const std::string stem = entry.path().stem().string();
                    entry.path().extension() == ".gguf" &&
                    (!test::kSanitized || stem == "llama" || stem == "gpt-oss" || stem == "Q4_K_S"))
                    models.push_back(entry.path());
    std::sort(models.begin(), models.end());
    return models;
}

class Vulkan : public testing::TestWithParam<fs::path> {};

// The CPU's bits, in pieces of 64 tokens and token by token; on a device whose arithmetic is not the CPU's, numbers near
// them: any difference may move a quantised activation by a step.
TEST_P(Vulkan, LogitsAreTheCpus) {
    if (!test::no_vulkan().empty()) GTEST_SKIP() << test::no_vulkan();
    std::istringstream in(test::read_file(test::reference_data() / "arch" / "tokens.txt"));
    std::vector<TokenId> tokens;
    for (TokenId id; in >> id;) tokens.push_back(id);
    const Model cpu = Model::load(Runtime({.threads = 2}), GetParam());
    const Model model =
        Model::load(Runtime({.backend = "vulkan", .device = test::vulkan_device()}), GetParam());
    for (const KvType kv : {KvType::f32, KvType::f16, KvType::q8_0}) {
        const std::vector<float> expected = logits(cpu, tokens, 64, kv);
        for (const std::size_t chunk : {std::size_t{64}, std::size_t{1}}) {
            if (chunk == 1 && kv != KvType::f16) continue;
            const std::vector<float> got = logits(model, tokens, chunk, kv);
            ASSERT_EQ(got.size(), expected.size());
            if (test::vulkan_is_exact()) {
                EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
                    << GetParam() << ", pieces of " << chunk << ": NMSE " << test::nmse(got, expected);
            } else {
                EXPECT_LT(test::nmse(got, expected), 1e-5) << GetParam() << ", pieces of " << chunk;
            }
        }
    }
}

// Products of many tokens in half precision: an NMSE of up to 1e-3 (include/tern/runtime.h). That they are not
// the exact ones shows that they were asked for and done; a token alone is exact.
TEST(VulkanModels, HalfPrecisionIsWithinItsTolerance) {
    if (!test::no_vulkan().empty()) GTEST_SKIP() << test::no_vulkan();
    const Runtime cpu({.threads = 2}), exact({.backend = "vulkan", .device = test::vulkan_device()}),
        half({.backend = "vulkan", .device = test::vulkan_device(), .half_products = true});
    std::istringstream in(test::read_file(test::reference_data() / "arch" / "tokens.txt"));
    std::vector<TokenId> tokens;
    for (TokenId id; in >> id;) tokens.push_back(id);
    for (const fs::path& path : reference_models()) {
        const std::string stem = path.stem().string();
        if (stem != "llama" && stem != "Q4_K_S" && stem != "Q8_0") continue;
        const Model model = Model::load(half, path), same = Model::load(exact, path);
        const std::vector<float> expected = logits(Model::load(cpu, path), tokens, 64, KvType::f32),
                                 got = logits(model, tokens, 64, KvType::f32);
        const double error = test::nmse(got, expected);
        EXPECT_LT(error, 1e-3) << path;
        EXPECT_GT(test::nmse(got, logits(same, tokens, 64, KvType::f32)), 1e-9) << path;
        EXPECT_EQ(logits(model, tokens, 1, KvType::f32), logits(same, tokens, 1, KvType::f32)) << path;
        std::cout << stem << ": NMSE " << error << "\n";
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Vulkan, testing::ValuesIn(reference_models()), [](const auto& p) {
    std::string name = p.param.parent_path().filename().string() + "_" + p.param.stem().string();
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
    return name;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Vulkan);

}  // namespace
}  // namespace tern
