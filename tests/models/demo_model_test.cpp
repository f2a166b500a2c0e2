// The built-in model against torch, which trained it: examples/demo-model/export.py wrote the logits of every position
// of three prompts, computed in f32 from the weights as the Q8_0 file has them.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <nlohmann/json.hpp>

#include "kernels/formats/format.h"
#include "support/nmse.h"
#include "support/reference_data.h"

namespace tern {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(TERN_SOURCE_DIR) / "examples/demo-model";

// The same model with every tensor as F32.
gguf::File as_f32(const gguf::File& file, std::vector<std::byte>& bytes) {
    gguf::Writer out(file.alignment());
    for (const gguf::Value& v : file.metadata()) out.add(v);
    std::vector<std::vector<float>> values;
    for (const gguf::Tensor& t : file.tensors()) {
        std::vector<float>& x = values.emplace_back(t.elements());
        kernels::format_ops(t.dtype).decode(t.data, x.data(), x.size());
        out.add_tensor(t.name, DType::F32, std::span(t.shape, t.rank), std::as_bytes(std::span(x)));
    }
    bytes = out.to_bytes();
    return gguf::File::parse(bytes, "tern-demo, F32");
}

class DemoModel : public testing::TestWithParam<bool> {};

TEST_P(DemoModel, GivesTorchsLogits) {
    const Runtime runtime({.threads = 2});
    gguf::File file = gguf::File::open(kFolder / "tern-demo.gguf");
    std::vector<std::byte> bytes;
    if (GetParam()) file = as_f32(file, bytes);
    const Model model = Model::load(runtime, std::move(file));
    // Activations in int8 per 32: the step is peak / 127 and the error of a rounding step^2 / 12 on average. The peak of
    // 32 numbers is at most sqrt(32) times their root mean square, so a product's relative error power is at most
    // 32 / (12 * 127^2) = 1.65e-4; a token passes four products in a row in each of four layers and one for the logits,
    // 17 in all: 2.8e-3. With F32 weights nothing is rounded and only the order of f32 sums differs.
    const double bound = GetParam() ? 1e-9 : 2.8e-3;

    const auto cases = nlohmann::json::parse(test::read_file(kFolder / "goldens/prompts.json"));
    ASSERT_EQ(cases.size(), 3u);
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const auto ids = cases[i]["ids"].get<std::vector<TokenId>>();
        EXPECT_EQ(model.tokenizer().encode(cases[i]["text"].get<std::string>(), {.parse_special = true}), ids);
        const auto expected = test::read_array<float>(kFolder / "goldens" / ("prompt-" + std::to_string(i + 1) + ".f32"));
        ASSERT_EQ(expected.size(), ids.size() * model.info().vocab_size);
        Session session(model, {.context = 64, .kv_type = KvType::f32});
        const Append item{.tokens = ids, .all_logits = true};
        const auto logits = session.eval(std::span(&item, 1));
        ASSERT_EQ(logits.size(), expected.size());
        const double error = test::nmse(logits, expected);
        EXPECT_LT(error, bound) << "prompt " << i + 1;
        RecordProperty("nmse_" + std::to_string(i + 1), std::to_string(error));
    }
}

INSTANTIATE_TEST_SUITE_P(Weights, DemoModel, testing::Bool(),
                         [](const auto& p) { return std::string(p.param ? "f32" : "q8_0"); });

}  // namespace
}  // namespace tern
