// tern render: a template's text and ids; and what tern inspect says of templates.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

using Json = nlohmann::json;

class Render : public CommandTest {
protected:
    std::string model(const std::string& source) {
        TinyModel(kTinyContext, source).write(path("m.gguf"));
        return path("m.gguf");
    }
    std::string messages() {
        return write_file("chat.json", R"({"messages": [{"role": "user", "content": "ab <mark>"}]})");
    }
};

const std::string kTemplate = "{{ bos_token }}{% for m in messages %}<mark>{{ m.content }}{% endfor %}";

TEST_F(Render, TextAndTokens) {
    const std::string m = model(kTemplate), chat = messages();
    EXPECT_EQ(tern({"render", "-m", m, "--messages", chat}).out, "<s><mark>ab <mark>");
    const Outcome json = tern({"render", "-m", m, "--messages", chat, "--json"});
    ASSERT_TRUE(done(json));
    const Json j = Json::parse(json.out);
    EXPECT_EQ(j["text"], "<s><mark>ab <mark>");
    const auto ids = j["tokens"].get<std::vector<TokenId>>();
    ASSERT_GT(ids.size(), 3u);
    // The mark that the user wrote is text.
    EXPECT_EQ(j["special"], Json::parse(R"([{"at":0,"id":1,"text":"<s>"},{"at":1,"id":2,"text":"<mark>"}])"));
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);

    const Outcome lines = tern({"render", "-m", m, "--messages", chat, "--tokens"});
    ASSERT_TRUE(done(lines));
    EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), static_cast<std::ptrdiff_t>(ids.size()));
    EXPECT_TRUE(lines.out.starts_with("       1 * <s>\n       2 * <mark>\n")) << lines.out;
    EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '*'), 2);
    EXPECT_TRUE(
        failed(tern({"render", "--template", write_file("t", "x"), "--messages", chat, "--tokens"}), 2, {"-m"}));
}

TEST_F(Render, InspectWarnsOfTemplates) {
    const auto warnings = [&](const std::string& source) {
        const Outcome o = tern({"inspect", "--json", model(source)});
        EXPECT_TRUE(done(o));
        return Json::parse(o.out)["warnings"].dump();
    };
    EXPECT_NE(warnings("{% for %}").find("tokenizer.chat_template"), std::string::npos);
    EXPECT_NE(warnings("{{ raise_exception('never') }}").find("does not render"), std::string::npos);
    EXPECT_NE(warnings(kTemplate).find("adds one, too"), std::string::npos) << warnings(kTemplate);
    // The tiny vocabulary has nothing that ends a generation.
    EXPECT_NE(warnings("{% for m in messages %}{{ m.content }}{% endfor %}").find("ends a generation"),
              std::string::npos);
}

TEST_F(Render, AnUnknownSplitPatternIsNamedByTheCaller) {
    gguf::Writer w;
    w.add_string("general.architecture", "llama");
    w.add_string("tokenizer.ggml.model", "gpt2");
    w.add_string("tokenizer.ggml.pre", "martian");
    std::vector<std::string> tokens;
    for (int c = '!'; c <= '~'; ++c) tokens.push_back(std::string(1, static_cast<char>(c)));
    w.add_strings("tokenizer.ggml.tokens", tokens);
    w.add_strings("tokenizer.ggml.merges", std::vector<std::string>{});
    w.write(path("vocab.gguf"));
    EXPECT_TRUE(failed(tern({"tokenize", "-m", path("vocab.gguf"), "ab"}), 1, {"martian", "qwen2", "tekken"}));
    const Outcome o = tern({"tokenize", "-m", path("vocab.gguf"), "--pre", "qwen2", "ab"});
    ASSERT_TRUE(done(o));
    EXPECT_EQ(o.out, "[64,65]\n");
    EXPECT_TRUE(failed(tern({"tokenize", "-m", path("vocab.gguf"), "--pre", "venusian", "ab"}), 1, {"venusian"}));
}

}  // namespace
}  // namespace tern::test
