#include "house/source_text.h"

#include <gtest/gtest.h>

namespace tern::test {
namespace {

TEST(SourceText, CommentsAndLiteralsAreNoCode) {
    const std::string code = blank_comments_and_literals(
        "a(); // abort()\n/* exit(1)\n printf */ b('\"', \"cout \\\" cerr\", 1'000); c(R\"x(puts \" )x\");\nabort();");
    for (const char* word : {"exit", "printf", "cout", "cerr", "puts"})
        EXPECT_TRUE(find_word(code, word, false).empty()) << word << " in\n" << code;
    EXPECT_EQ(find_word(code, "abort", true), std::vector<int>{4});
    EXPECT_EQ(find_word(code, "b", true), std::vector<int>{3});
    EXPECT_EQ(find_word(code, "c", true), std::vector<int>{3});
}

TEST(SourceText, WordsAreWhole) {
    EXPECT_TRUE(find_word("scope_exit(); exit_code(); snprintf(x)", "exit", true).empty());
    EXPECT_TRUE(find_word("scope_exit(); snprintf(x)", "printf", false).empty());
    EXPECT_TRUE(find_word("int exit = 0;", "exit", true).empty());
    EXPECT_EQ(find_word("\nstd::exit (1);", "exit", true), std::vector<int>{2});
}

TEST(SourceText, Includes) {
    const SourceText text = parse_source(
        "#include <vector>\n  #  include \"a/b.h\"  // why\n// #include <no>\n/*\n#include <no>\n*/\n#include <tern/x.h>");
    ASSERT_EQ(text.includes.size(), 3u);
    EXPECT_EQ(text.includes[0].name, "vector");
    EXPECT_TRUE(text.includes[0].angled);
    EXPECT_EQ(text.includes[1].name, "a/b.h");
    EXPECT_FALSE(text.includes[1].angled);
    EXPECT_EQ(text.includes[1].line, 2);
    EXPECT_EQ(text.includes[2].name, "tern/x.h");
    EXPECT_EQ(text.includes[2].line, 7);
}

}  // namespace
}  // namespace tern::test
