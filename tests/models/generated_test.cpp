// Architectures without a reference model: generated models against logits of another program (tests/data/models).
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernels/registry.h"
#include "models/generated_models.h"
#include "support/nmse.h"
#include "support/reference_data.h"

namespace tern::test {
namespace {

std::filesystem::path golden(const GeneratedModel& model) {
    return std::filesystem::path(TERN_SOURCE_DIR) / "tests/data/models" / (std::string(model.name) + ".f32");
}

std::vector<float> logits(const Runtime& runtime, std::span<const std::byte> file, std::size_t chunk) {
    Session session(Model::load(runtime, gguf::File::parse(file, "generated.gguf")),
                    {.context = 256, .kv_type = KvType::f32, .batch = 64});
    const std::vector<TokenId> tokens = generated_tokens();
    std::vector<float> all;
    for (std::size_t i = 0; i < tokens.size(); i += chunk) {
        const Append item{.tokens = std::span(tokens).subspan(i, std::min(chunk, tokens.size() - i)), .all_logits = true};
        const auto rows = session.eval(std::span(&item, 1));
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

class Generated : public testing::TestWithParam<GeneratedModel> {};

TEST_P(Generated, EqualsThePeerOnEveryPath) {
    const std::vector<std::byte> file = generate(GetParam());
    const auto expected = read_array<float>(golden(GetParam()));
    ASSERT_EQ(expected.size(), std::size_t{kGenTokens} * kGenVocab) << golden(GetParam());
    const std::vector<float> first = logits(Runtime({.threads = 1, .isa = "scalar"}), file, kGenTokens);
    ASSERT_EQ(first.size(), expected.size());
    EXPECT_LT(nmse(first, expected), GetParam().tolerance);
    const kernels::IsaList isas = kernels::isas(kernels::detect_cpu());
    for (std::size_t i = 0; i < isas.count; ++i) {
        if (!isas.items[i].usable) continue;
        const Runtime runtime({.threads = 3, .isa = isas.items[i].name});
        for (const std::size_t chunk : {std::size_t{1}, std::size_t{7}, std::size_t{kGenTokens}}) {
            const std::vector<float> other = logits(runtime, file, chunk);
            ASSERT_EQ(other.size(), first.size());
            EXPECT_EQ(std::memcmp(other.data(), first.data(), first.size() * sizeof(float)), 0)
                << isas.items[i].name << ", chunks of " << chunk;
        }
    }
}

// Every tensor takes part: a model with one that is a little different has other logits.
TEST_P(Generated, EveryTensorMovesTheResult) {
    std::vector<std::byte> bytes = generate(GetParam());
    const Runtime runtime({.threads = 1});
    const std::vector<float> first = logits(runtime, bytes, kGenTokens);
    const auto file = gguf::File::parse(bytes, "generated.gguf");
    Splitmix noise{3};
    for (const gguf::Tensor& t : file.tensors()) {
        if (t.name == "rope_factors_long.weight") continue;  // for longer contexts
        std::byte* at = bytes.data() + (t.data - bytes.data());
        std::vector<std::byte> kept(at, at + t.bytes);
        for (std::uint64_t i = 0; i < t.elements(); ++i) {
            float x;
            std::memcpy(&x, at + 4 * i, 4);
            x += 0.03f * noise.uniform();
            std::memcpy(at + 4 * i, &x, 4);
        }
        const std::vector<float> moved = logits(runtime, bytes, kGenTokens);
        EXPECT_GT(nmse(moved, first), 1e-9) << t.name;
        std::copy(kept.begin(), kept.end(), at);
    }
}

INSTANTIATE_TEST_SUITE_P(Models, Generated, testing::ValuesIn(kGenerated), [](const auto& p) {
    std::string name = p.param.name;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

// Writes the models and their tokens to the folder TERN_WRITE_MODELS, for another program to read.
TEST(GeneratedModels, DISABLED_Write) {
    const char* folder = std::getenv("TERN_WRITE_MODELS");
    ASSERT_NE(folder, nullptr);
    for (const GeneratedModel& model : kGenerated) {
        const std::vector<std::byte> bytes = generate(model);
        std::ofstream(std::filesystem::path(folder) / (std::string(model.name) + ".gguf"), std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    std::ofstream tokens(std::filesystem::path(folder) / "tokens.txt");
    for (const TokenId t : generated_tokens()) tokens << t << '\n';
}

}  // namespace
}  // namespace tern::test
