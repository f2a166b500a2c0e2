// Whole models on a Vulkan device against the CPU.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <algorithm>
#include <cctype>
#include <deque>
#include <sstream>

#include "kernels/formats/format.h"
#include "models/model_impl.h"
#include "support/nmse.h"
#include "support/reference_data.h"
#include "support/sanitizer.h"
#include "support/vulkan.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

// A model whose weights are decoded to F32 first, so that the CPU multiplies without quantising activations:
// what the device computes, in another order.
class Exact {
public:
    Exact(const Runtime& runtime, const fs::path& path) : model_(Model::load(runtime, path)) {
        for (const graph::Op& op : model_.impl()->graph.ops()) decode(const_cast<graph::Op&>(op).weight);
    }
    const Model& model() const { return model_; }

private:
    void decode(graph::Weight& w) {
        if (!w || w.dtype == DType::F32) return;
        std::vector<float>& to = kept_.emplace_back(w.cols * w.rows * w.slabs);
        for (std::uint64_t row = 0; row < w.rows * w.slabs; ++row)
            kernels::format_ops(w.dtype).decode(static_cast<const std::byte*>(w.data) + row * w.row_bytes(),
                                                to.data() + row * w.cols, w.cols);
        w.data = to.data();
        w.dtype = DType::F32;
    }
    Model model_;
    std::deque<std::vector<float>> kept_;
};

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

// f32 sums in another order: NMSE below 1e-10, where the issue asks for 1e-5; with f16 KV the same rounding
// on both sides hits values that differ in the last bit. Where the CPU quantises activations it differs from
// both by far more.
TEST_P(Vulkan, LogitsAreTheExactOnes) {
    if (!test::no_vulkan().empty()) GTEST_SKIP() << test::no_vulkan();
    std::istringstream in(test::read_file(test::reference_data() / "arch" / "tokens.txt"));
    std::vector<TokenId> tokens;
    for (TokenId id; in >> id;) tokens.push_back(id);
    const Exact exact(Runtime({.threads = 2}), GetParam());
    const Model model =
        Model::load(Runtime({.backend = "vulkan", .device = test::vulkan_device()}), GetParam());
    for (const KvType kv : {KvType::f32, KvType::f16}) {
        const std::vector<float> expected = logits(exact.model(), tokens, 64, kv);
        const double bound = kv == KvType::f32 ? 1e-10 : 1e-8;
        EXPECT_LT(test::nmse(logits(model, tokens, 64, kv), expected), bound) << GetParam();
        if (kv == KvType::f32) continue;
        EXPECT_LT(test::nmse(logits(model, tokens, 1, kv), expected), bound)
            << GetParam() << " token by token";
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
