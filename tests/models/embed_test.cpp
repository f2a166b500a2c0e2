// Embeddings, against llama.cpp's of the same models (tests/data/embed/jina.py, and the reference data), and by
// themselves.
#include <gtest/gtest.h>
#include <tern/embed.h>
#include <tern/engine.h>
#include <tern/error.h>

#include <cmath>
#include <sstream>

#include "tests/support/reference_data.h"
#include "tiny_model.h"

namespace tern::test {
namespace {

using Tokens = std::vector<std::vector<TokenId>>;
using Vectors = std::vector<std::vector<float>>;

Tokens read_tokens(const std::filesystem::path& path) {
    std::istringstream in(read_file(path));
    Tokens all;
    for (std::string line; std::getline(in, line);) {
        std::istringstream numbers(line);
        all.emplace_back();
        for (TokenId id; numbers >> id;) all.back().push_back(id);
    }
    return all;
}

std::filesystem::path own(const std::string& name) {
    return std::filesystem::path(TERN_SOURCE_DIR) / "tests/data/embed" / name;
}

double cosine(const float* a, const float* b, std::size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < n; ++i) {
        ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
        aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
        bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    return ab / std::sqrt(aa * bb);
}

void expect_reference(const std::filesystem::path& model, const std::filesystem::path& tokens,
                      const std::filesystem::path& reference, float tolerance) {
    const Runtime runtime({.threads = 2});
    Embedder embedder(Model::load(runtime, model), {.normalize = false});
    const Tokens texts = read_tokens(tokens);
    const std::vector<float> expected = read_array<float>(reference);
    const std::size_t width = embedder.width();
    ASSERT_EQ(expected.size(), texts.size() * width);
    const Vectors vectors = embedder.embed(texts);
    ASSERT_EQ(vectors.size(), texts.size());
    float worst = 0;
    for (std::size_t t = 0; t < texts.size(); ++t) {
        ASSERT_EQ(vectors[t].size(), width);
        const float* row = expected.data() + t * width;
        for (std::size_t i = 0; i < width; ++i) worst = std::max(worst, std::abs(vectors[t][i] - row[i]));
        if (width > 1) {
            EXPECT_GT(cosine(vectors[t].data(), row, width), 0.99999) << "text " << t;
        }
    }
    EXPECT_LT(worst, tolerance);
    std::cout << model.filename() << ": largest difference " << worst << "\n";
}

// The peer takes GELU in its form with tanh, from a table over f16; the models were trained with erf. That is what the
// tolerance of BERT and Jina is for: Nomic, without GELU, is within 1e-6.
TEST(Embed, Bert) {
    TERN_REFERENCE(folder, "embed");
    expect_reference(folder / "bert.gguf", folder / "bert.tokens", folder / "bert.f32", 2e-3f);
}
TEST(Embed, NomicBert) {
    TERN_REFERENCE(folder, "embed");
    expect_reference(folder / "nomic-bert.gguf", folder / "nomic-bert.tokens", folder / "nomic-bert.f32", 5e-6f);
}
TEST(Embed, JinaBert) {
    expect_reference(own("jina-en.gguf"), own("tokens.txt"), own("jina-en.f32"), 2e-3f);
}
TEST(Embed, JinaBertForCode) {
    expect_reference(own("jina-code.gguf"), own("tokens.txt"), own("jina-code.f32"), 2e-3f);
}
TEST(Embed, Rank) {
    expect_reference(own("bert-rank.gguf"), own("tokens.txt"), own("bert-rank.f32"), 2e-3f);
}

TEST(Embed, SameBitsAloneTogetherAndOnEveryPath) {
    const Tokens texts = read_tokens(own("tokens.txt"));
    for (const char* name : {"jina-en.gguf", "jina-code.gguf"}) {
        std::optional<Vectors> first;
        for (const char* isa : {"scalar", "avx2", "avx512", ""}) {
            for (const unsigned threads : {1u, 2u, 4u}) {
                std::optional<Runtime> runtime;
                try {
                    runtime.emplace(RuntimeOptions{.threads = threads, .isa = isa});
                } catch (const Error& e) {
                    ASSERT_EQ(e.code(), ErrorCode::unsupported);
                    continue;
                }
                const Model model = Model::load(*runtime, own(name));
                Embedder together(model), one(model, {.batch = 1});
                const Vectors vectors = together.embed(texts);
                if (!first) first = vectors;
                EXPECT_EQ(vectors, *first) << name << " " << isa << " " << threads;
                EXPECT_EQ(one.embed(texts), *first) << name << " " << isa << " " << threads;
                for (std::size_t t = 0; t < texts.size(); ++t)
                    EXPECT_EQ(together.embed(std::span(&texts[t], 1)).front(), (*first)[t]);
            }
        }
    }
}

TEST(Embed, ManyTexts) {
    const Runtime runtime({.threads = 2});
    Embedder embedder(Model::load(runtime, own("jina-en.gguf")), {.batch = 100});
    Tokens texts;
    for (int i = 0; i < 300; ++i) texts.emplace_back(static_cast<std::size_t>(1 + i % 64), i % 40);
    const Vectors vectors = embedder.embed(texts);
    ASSERT_EQ(vectors.size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); i += 37)
        EXPECT_EQ(embedder.embed(std::span(&texts[i], 1)).front(), vectors[i]) << i;
    EXPECT_TRUE(embedder.embed(Tokens{}).empty());
}

TEST(Embed, LengthOneUnlessAskedOtherwise) {
    const Runtime runtime({.threads = 1});
    const Model model = Model::load(runtime, own("jina-en.gguf"));
    EXPECT_EQ(model.info().pooling, Pooling::mean);
    EXPECT_TRUE(model.info().encoder);
    const Tokens texts = {{1, 2, 3}};
    const std::vector<float> unit = Embedder(model).embed(texts).front();
    const std::vector<float> raw = Embedder(model, {.normalize = false}).embed(texts).front();
    double squares = 0;
    for (const float x : unit) squares += static_cast<double>(x) * static_cast<double>(x);
    EXPECT_NEAR(squares, 1.0, 1e-6);
    EXPECT_NEAR(cosine(unit.data(), raw.data(), unit.size()), 1.0, 1e-9);
}

// A decoder's vectors times the output matrix are its logits.
TEST(Embed, DecodersGiveTheRowsAfterTheLastNorm) {
    const Runtime runtime({.threads = 2});
    const std::vector<std::byte> bytes = tiny_model(0, DType::F32).bytes();
    const Model model = Model::load(runtime, gguf::File::parse(bytes, "tiny"));
    EXPECT_FALSE(model.info().encoder);
    const std::vector<TokenId> text = {1, 4, 5, 6, 7, 8, 3};
    Session session(model, {.kv_type = KvType::f32});
    const Append all{.tokens = text, .all_logits = true};
    const std::span<const float> logits = session.eval(std::span(&all, 1));
    const std::size_t vocab = model.info().vocab_size, width = model.info().width;
    const gguf::File file = gguf::File::parse(bytes, "tiny");
    const float* output = reinterpret_cast<const float*>(file.find_tensor("output.weight")->data);
    const auto logit = [&](const std::vector<float>& vector, std::size_t token) {
        double sum = 0;
        for (std::size_t i = 0; i < width; ++i)
            sum += static_cast<double>(vector[i]) * static_cast<double>(output[token * width + i]);
        return sum;
    };
    Embedder last(model, {.normalize = false});
    EXPECT_EQ(last.pooling(), Pooling::last);
    ASSERT_EQ(last.width(), width);
    const std::vector<float> vector = last.embed(Tokens{text}).front();
    for (std::size_t v = 0; v < vocab; ++v)
        EXPECT_NEAR(logit(vector, v), static_cast<double>(logits[(text.size() - 1) * vocab + v]), 1e-4);
    // The mean of rows makes the mean of logits; a causal model's first row does not see the others.
    const std::vector<float> mean =
        Embedder(model, {.pooling = Pooling::mean, .normalize = false}).embed(Tokens{text}).front();
    for (std::size_t v = 0; v < vocab; ++v) {
        double sum = 0;
        for (std::size_t t = 0; t < text.size(); ++t) sum += static_cast<double>(logits[t * vocab + v]);
        EXPECT_NEAR(logit(mean, v), sum / static_cast<double>(text.size()), 1e-4);
    }
    Embedder first(model, {.pooling = Pooling::cls});
    EXPECT_EQ(first.embed(Tokens{text}), first.embed(Tokens{{1}}));
}

TEST(Embed, EveryArchitecture) {
    TERN_REFERENCE(folder, "arch");
    const Runtime runtime({.threads = 2});
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".gguf") continue;
        SCOPED_TRACE(entry.path());
        const Model model = Model::load(runtime, entry.path());
        Embedder embedder(model, {.pooling = Pooling::mean});
        EXPECT_EQ(embedder.width(), model.info().width);
        const Vectors vectors = embedder.embed(Tokens{{5, 6, 7, 8}});
        double squares = 0;
        for (const float x : vectors.front())
            squares += static_cast<double>(x) * static_cast<double>(x);
        EXPECT_NEAR(squares, 1.0, 1e-6);
    }
}

TEST(Embed, PoolingOfTheFile) {
    const Runtime runtime({.threads = 1});
    for (const auto& [number, pooling] : {std::pair{1u, Pooling::mean}, {2u, Pooling::cls}, {3u, Pooling::last}}) {
        TinyModel tiny = tiny_model();
        tiny.set("llama.pooling_type", TinyModel::u32(number));
        const std::vector<std::byte> bytes = tiny.bytes();
        const Model model = Model::load(runtime, gguf::File::parse(bytes, "tiny"));
        EXPECT_EQ(model.info().pooling, pooling);
        EXPECT_EQ(Embedder(model).pooling(), pooling);
    }
}

template <class Statement>
void expect_error(ErrorCode code, const std::vector<std::string>& words, Statement&& statement) {
    try {
        statement();
        ADD_FAILURE() << "no error";
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), code) << e.what();
        for (const std::string& word : words)
            EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
}

TEST(Embed, Refusals) {
    const Runtime runtime({.threads = 1});
    const Model model = Model::load(runtime, own("jina-en.gguf"));
    Embedder embedder(model);
    EXPECT_EQ(embedder.max_tokens(), 64u);
    expect_error(ErrorCode::invalid_argument, {"text 1"}, [&] { embedder.embed(Tokens{{1}, {}}); });
    expect_error(ErrorCode::invalid_argument, {"text 1", "40"}, [&] { embedder.embed(Tokens{{1}, {40}}); });
    expect_error(ErrorCode::invalid_argument, {"-1"}, [&] { embedder.embed(Tokens{{-1}}); });
    expect_error(ErrorCode::context_full, {"text 0", "65", "64"},
                 [&] { embedder.embed(Tokens{std::vector<TokenId>(65, 1)}); });
    expect_error(ErrorCode::invalid_argument, {"batch"}, [&] { Embedder(model, {.batch = 0}); });
    expect_error(ErrorCode::unsupported, {"rank"}, [&] { Embedder(model, {.pooling = Pooling::rank}); });
    const Model ranking = Model::load(runtime, own("bert-rank.gguf"));
    expect_error(ErrorCode::unsupported, {"mean"}, [&] { Embedder(ranking, {.pooling = Pooling::mean}); });
    expect_error(ErrorCode::unsupported, {"encoder"}, [&] { Session{model}; });
    expect_error(ErrorCode::unsupported, {"encoder"}, [&] { Engine{model}; });
    const Runtime small({.threads = 1, .memory_budget = 100 * KiB});
    const Model fits = Model::load(small, own("jina-en.gguf"));
    expect_error(ErrorCode::out_of_memory, {"64 tokens"}, [&] { Embedder(fits, {.batch = 64}).embed(Tokens{{1}}); });
}

}  // namespace
}  // namespace tern::test
