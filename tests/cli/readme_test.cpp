// README shows what the built-in model really says, and the built-in model can be talked to.
#include "command.h"

#include "support/reference_data.h"

namespace tern::test {
namespace {

// Between <!-- demo --> and <!-- /demo -->: lines "$ tern run WORDS", each with its output until an empty line.
TEST(Readme, ShowsWhatTheCommandPrints) {
    const std::string readme = read_file(std::filesystem::path(TERN_SOURCE_DIR) / "README.md");
    const std::size_t begin = readme.find("<!-- demo -->"), end = readme.find("<!-- /demo -->");
    ASSERT_NE(begin, std::string::npos);
    ASSERT_NE(end, std::string::npos);
    const std::string block = readme.substr(begin, end - begin), prompt = "$ scripts/run.sh \"";
    int shown = 0;
    for (std::size_t at = block.find(prompt); at != std::string::npos; at = block.find(prompt, at + 1), ++shown) {
        const std::size_t text = at + prompt.size(), text_end = block.find("\"\n", text), out = text_end + 2;
        const std::size_t out_end = std::min(block.find("\n\n", out), block.find("\n```", out));
        const Outcome o = tern({"run", block.substr(text, text_end - text)});
        EXPECT_EQ(o.exit_status, 0) << o.err;
        std::string printed;  // README breaks the lines
        for (const char c : block.substr(out, out_end - out)) printed += c == '\n' ? ' ' : c;
        EXPECT_EQ(o.out, printed + "\n");
    }
    EXPECT_GE(shown, 3);
}

TEST(Readme, TheTextIsTheSameOnEveryInstructionSet) {
    const Outcome scalar = tern({"run", "--isa", "scalar", "-t", "1", "Once upon a time"});
    const Outcome best = tern({"run", "-t", "2", "Once upon a time"});
    EXPECT_EQ(scalar.exit_status, 0);
    EXPECT_GT(best.out.size(), 200u);
    EXPECT_EQ(scalar.out, best.out);
}

}  // namespace
}  // namespace tern::test
