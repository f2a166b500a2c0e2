// tern tokenize: exact bytes in, a JSON array out.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

class Tokenize : public CommandTest {
protected:
    Tokenize()
        : tokenizer_(Tokenizer::from_gguf(gguf::File::parse(tiny_model().bytes(), "tiny.gguf"))) {
        tiny_model().write(path("m.gguf"));
    }
    std::vector<TokenId> ids(std::vector<std::string> more, const Io& io = {}) const {
        std::vector<std::string> call{"tokenize", "-m", path("m.gguf")};
        call.insert(call.end(), more.begin(), more.end());
        const Outcome o = tern(call, io);
        EXPECT_TRUE(done(o));
        EXPECT_TRUE(o.out.starts_with("[") && o.out.ends_with("]\n")) << o.out;
        return nlohmann::json::parse(o.out, nullptr, false).get<std::vector<TokenId>>();
    }
    Tokenizer tokenizer_;
};

TEST_F(Tokenize, Options) {
    EXPECT_EQ(ids({"ab abc"}), tokenizer_.encode("ab abc"));
    EXPECT_EQ(ids({"ab abc"}).front(), 1);
    EXPECT_EQ(ids({"--no-bos", "ab abc"}), tokenizer_.encode("ab abc", {.add_special = false}));
    EXPECT_EQ(ids({"--no-bos", "a<mark>b"}), tokenizer_.encode("a<mark>b", {.add_special = false}));
    const auto parsed = ids({"--no-bos", "--parse-special", "a<mark>b"});
    EXPECT_EQ(parsed, tokenizer_.encode("a<mark>b", {.add_special = false, .parse_special = true}));
    EXPECT_NE(std::find(parsed.begin(), parsed.end(), 2), parsed.end());
    EXPECT_EQ(ids({"--no-bos", ""}), std::vector<TokenId>{});
}

// No line break is trimmed, no byte is changed: not in a file, not from stdin.
TEST_F(Tokenize, ExactBytes) {
    std::string all;
    for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
    const std::string texts[] = {"a\n", "a\r\n\r\n", "\n", " a ", std::string("a\0b\0", 4), "\xef\xbb\xbf""a", "\xff\xfe", all,
                                 std::string(100000, 'a') + "\n"};
    for (const std::string& text : texts) {
        const std::string file = write_file("text", text);
        const std::vector<TokenId> want = tokenizer_.encode(text);
        EXPECT_EQ(ids({"--file", file}), want);
        EXPECT_EQ(ids({}, {.in = text}), want);
        EXPECT_EQ(ids({"-"}, {.in = text}), want);
        EXPECT_EQ(ids({"--no-bos", "--file", file}), tokenizer_.encode(text, {.add_special = false}));
    }
    EXPECT_EQ(ids({"--file", write_file("text", "")}), tokenizer_.encode(""));
}

TEST_F(Tokenize, FilesThatCannotBeRead) {
    EXPECT_TRUE(failed(tern({"tokenize", "-m", path("m.gguf"), "--file", path("none.txt")}), 1, {"none.txt"}));
    EXPECT_TRUE(failed(tern({"tokenize", "-m", path("m.gguf"), "--file", folder_}), 1, {folder_}));
}

}  // namespace
}  // namespace tern::test
