// tern embed: a vector a text.
#include <tern/embed.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/command.h"
#include "cli/tiny_model.h"
#include "support/reference_data.h"

namespace tern::test {
namespace {

using Json = nlohmann::json;

class Embed : public CommandTest {
protected:
    Embed() { tiny_model().write(path("m.gguf")); }
};

TEST_F(Embed, JsonTextAndStdinAgree) {
    const Outcome o = tern({"embed", "-m", path("m.gguf"), "--json", "ab", "abc ab"});
    ASSERT_TRUE(done(o));
    const Json j = Json::parse(o.out);
    ASSERT_EQ(j.size(), 2u);
    const auto vectors = j["embeddings"].get<std::vector<std::vector<float>>>();
    ASSERT_EQ(vectors.size(), 2u);
    ASSERT_EQ(vectors[0].size(), 64u);
    const Tokenizer tokenizer = Tokenizer::from_gguf(gguf::File::parse(tiny_model().bytes(), "tiny.gguf"));
    EXPECT_EQ(j["tokens"][1].get<std::vector<TokenId>>(), tokenizer.encode("abc ab"));
    // The numbers are those of the library, to the bit.
    const Runtime runtime({.threads = 1});
    Embedder embedder(Model::load(runtime, path("m.gguf")));
    const std::vector<std::string> texts = {"ab", "abc ab"};
    EXPECT_EQ(vectors, embedder.embed(texts));

    const Outcome lines = tern({"embed", "-m", path("m.gguf")}, {.in = "ab\nabc ab\n"});
    ASSERT_TRUE(done(lines));
    EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 2);
    std::istringstream in(lines.out);
    for (const auto& vector : vectors)
        for (const float want : vector) {
            float got = 0;
            in >> got;
            EXPECT_EQ(got, want);
        }
}

TEST_F(Embed, Options) {
    const auto first = [&](std::vector<std::string> more) {
        std::vector<std::string> call{"embed", "-m", path("m.gguf"), "--json", "abc ab"};
        call.insert(call.end(), more.begin(), more.end());
        const Outcome o = tern(call);
        EXPECT_TRUE(done(o));
        return Json::parse(o.out)["embeddings"][0].get<std::vector<double>>();
    };
    const auto length = [](const std::vector<double>& x) {
        double sum = 0;
        for (const double v : x) sum += v * v;
        return std::sqrt(sum);
    };
    EXPECT_NEAR(length(first({})), 1.0, 1e-6);
    EXPECT_GT(std::abs(length(first({"--no-normalize"})) - 1.0), 1e-3);
    EXPECT_EQ(first({"--pooling", "last"}), first({}));
    EXPECT_NE(first({"--pooling", "mean"}), first({}));
    EXPECT_EQ(first({"--batch", "1", "-t", "1"}), first({"-t", "2"}));
    EXPECT_TRUE(failed(tern({"embed", "-m", path("m.gguf"), "--pooling", "rank", "ab"}), 1, {"rank"}));
    EXPECT_TRUE(failed(tern({"embed", "-m", path("m.gguf"), "--pooling", "best", "ab"}), 2, {"best"}));
    EXPECT_TRUE(failed(tern({"embed", "-m", path("m.gguf"), std::string(2000, 'z')}), 1, {"text 0", "256"}));
}

TEST_F(Embed, Encoders) {
    TERN_REFERENCE(model, "embed/bert.gguf");
    const Outcome o = tern({"embed", "-m", model.string(), "--json", "--no-normalize", "The cat sat on the mat"});
    ASSERT_TRUE(done(o));
    const std::vector<float> reference = read_array<float>(reference_data() / "embed/bert.f32");
    const auto vector = Json::parse(o.out)["embeddings"][0].get<std::vector<float>>();
    ASSERT_EQ(vector.size(), 64u);
    for (std::size_t i = 0; i < 64; ++i) EXPECT_NEAR(vector[i], reference[i], 5e-3);
    EXPECT_TRUE(failed(tern({"run", "-m", model.string(), "--raw", "x"}), 1, {"encoder", "embed"}));
}

}  // namespace
}  // namespace tern::test
