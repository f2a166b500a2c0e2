// docs/numerics.md names every format, and only files that exist.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "support/reference_data.h"

namespace tern::test {
namespace {

namespace fs = std::filesystem;

// `a/b.cpp` in code quotes: words with a slash and nothing that no single path has.
std::vector<std::string> quoted_paths(const std::string& text) {
    std::vector<std::string> out;
    for (std::size_t begin = text.find('`'); begin != text.npos;) {
        const std::size_t end = text.find('`', begin + 1);
        if (end == text.npos) break;
        const std::string word = text.substr(begin + 1, end - begin - 1);
        if (word.find('/') != word.npos && word.find_first_of(" *<{(=[\n") == word.npos) out.push_back(word);
        begin = text.find('`', end + 1);
    }
    return out;
}

TEST(Docs, NumericsNamesEveryFormat) {
    const std::string text = read_file(fs::path(TERN_SOURCE_DIR) / "docs/numerics.md");
    for (const char* format : {"F32", "F16", "BF16"})
        EXPECT_NE(text.find(format), text.npos) << format;
    const auto check = [&](const std::string& name, unsigned block) {
        if (block > 1) {
            EXPECT_NE(text.find("\n| " + name + " | " + std::to_string(block) + " |"), text.npos) << name;
        }
    };
#define TERN_FORMAT(name, id, block, bytes) check(#name, block);
#include <tern/formats.def>
#undef TERN_FORMAT
}

TEST(Docs, NumericsNamesFilesThatExist) {
    const fs::path root = TERN_SOURCE_DIR;
    const std::vector<std::string> paths = quoted_paths(read_file(root / "docs/numerics.md"));
    EXPECT_GT(paths.size(), 15u);
    for (const std::string& path : paths) EXPECT_TRUE(fs::exists(root / path)) << path;
}

TEST(Docs, TheChecksRefuse) {
    EXPECT_EQ(quoted_paths("`a/b.cpp` a/c `x = d / e` `f/*_g` ``"), std::vector<std::string>{"a/b.cpp"});
}

}  // namespace
}  // namespace tern::test
