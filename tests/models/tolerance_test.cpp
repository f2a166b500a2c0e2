// Whole models on the backend whose products of many tokens are within a tolerance of the default's.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <cstring>

#include "models/tiny_model.h"
#include "support/nmse.h"

namespace tern::test {
namespace {

constexpr std::uint32_t kLayers = 2;

std::vector<std::byte> model_bytes(DType dtype, std::uint32_t experts = 0) {
    return tiny_model(experts, dtype, kLayers, 256).bytes();
}

// The same numbers, each weight decoded to F32.
std::vector<std::byte> decoded(const std::vector<std::byte>& bytes) {
    const auto file = gguf::File::parse(bytes, "quantised.gguf");
    gguf::Writer out(file.alignment());
    for (const gguf::Value& v : file.metadata())
        if (v.key() != "general.alignment") out.add(v);
    std::vector<std::vector<float>> values;
    for (const gguf::Tensor& t : file.tensors()) {
        std::uint64_t n = 1;
        for (std::uint32_t i = 0; i < t.rank; ++i) n *= t.shape[i];
        values.emplace_back(n);
        kernels::format_ops(t.dtype).decode(t.data, values.back().data(), n);
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
        const gguf::Tensor& t = file.tensors()[i];
        out.add_tensor(t.name, DType::F32, {t.shape, t.rank}, std::as_bytes(std::span(values[i])));
    }
    return out.to_bytes();
}

std::vector<float> logits(const std::vector<std::byte>& bytes, const char* backend, std::size_t chunk, unsigned threads = 2) {
    const Runtime runtime({.threads = threads, .backend = backend});
    Session session(Model::load(runtime, gguf::File::parse(bytes, "tiny.gguf")), {.context = 128, .kv_type = KvType::f32});
    std::vector<TokenId> tokens(120);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 7 % 10);
    std::vector<float> all;
    for (std::size_t i = 0; i < tokens.size(); i += chunk) {
        const Append item{.tokens = std::span(tokens).subspan(i, std::min(chunk, tokens.size() - i)), .all_logits = true};
        const auto rows = session.eval(std::span(&item, 1));
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

class BlasModel : public testing::TestWithParam<DType> {
protected:
    void SetUp() override {
        if (!TERN_HAVE_OPENBLAS) GTEST_SKIP() << "this build has no OpenBLAS";
    }
};

// Products of f32 activations with decoded weights are what the default computes for the decoded model, but for the
// order of additions: an error of a few 2^-24 of the size of each product, so some 1e-14 of its power. A thousand of
// them, each amplified a hundred times, would stay below 1e-9, as do all those that the golden tests allow.
TEST_P(BlasModel, IsTheDefaultOverDecodedWeights) {
    const auto bytes = model_bytes(GetParam());
    const std::vector<float> expected = logits(decoded(bytes), "cpu", 120);
    for (const unsigned threads : {1u, 3u}) EXPECT_LT(nmse(logits(bytes, "blas", 120, threads), expected), 1e-9);
}

// The default rounds activations to 1/127 of the largest of their block, an error evenly spread over one step:
// (largest / 127)^2 / 12 of power, against the power of the values themselves. With a largest value of at most 6 times
// the root mean square, that is 6^2 / (12 * 127^2) of each product; 4 products one after the other in a layer, and the
// last one, add theirs.
TEST_P(BlasModel, IsNearTheDefault) {
    const auto bytes = model_bytes(GetParam());
    const std::vector<float> expected = logits(bytes, "cpu", 120);
    const double bound = GetParam() == DType::F32 ? 1e-9 : (4 * kLayers + 1) * 36.0 / (12.0 * 127 * 127);
    const double difference = nmse(logits(bytes, "blas", 120), expected);
    EXPECT_LT(difference, bound);
    if (GetParam() != DType::F32) {
        EXPECT_GT(difference, 1e-9) << "the products were not OpenBLAS's";
    }
    RecordProperty("nmse", std::to_string(difference));
}

TEST_P(BlasModel, IsTheDefaultWhereTokensAreFew) {
    for (const std::uint32_t experts : {0u, 3u}) {
        const auto bytes = model_bytes(GetParam(), experts);
        const std::vector<float> expected = logits(bytes, "cpu", 31), got = logits(bytes, "blas", 31);
        ASSERT_EQ(got.size(), expected.size());
        EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0);
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, BlasModel, testing::Values(DType::F32, DType::Q8_0, DType::Q4_K),
                         [](const auto& p) { return std::string(to_string(p.param)); });

}  // namespace
}  // namespace tern::test
