// The example that README.md shows is the program that tests/install builds and runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "support/reference_data.h"

namespace tern::test {
namespace {

namespace fs = std::filesystem;

// What stands between the two markers, without the fence of the code block; empty where it is not there.
std::string code_between(const std::string& text, const std::string& begin, const std::string& end) {
    const std::string open = begin + "\n```cpp\n", close = "```\n" + end;
    const std::size_t first = text.find(open);
    if (first == text.npos) return {};
    const std::size_t last = text.find(close, first);
    if (last == text.npos) return {};
    return text.substr(first + open.size(), last - first - open.size());
}

TEST(Readme, ShowsTheEmbedExample) {
    const fs::path root = TERN_SOURCE_DIR;
    const std::string shown = code_between(read_file(root / "README.md"), "<!-- embed -->", "<!-- /embed -->");
    ASSERT_FALSE(shown.empty()) << "README.md has no code between <!-- embed --> and <!-- /embed -->";
    EXPECT_EQ(shown, read_file(root / "examples/embed/main.cpp")) << "copy examples/embed/main.cpp into README.md";
}

TEST(Readme, TheEmbedExampleIsShort) {
    std::ptrdiff_t lines = 0;
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(TERN_SOURCE_DIR) / "examples/embed")) {
        if (!entry.is_regular_file()) continue;
        const std::string text = read_file(entry.path());
        lines += std::count(text.begin(), text.end(), '\n');
        ++files;
    }
    EXPECT_EQ(files, 2);
    EXPECT_LT(lines, 40);
}

TEST(Readme, TheCheckRefuses) {
    EXPECT_EQ(code_between("x\n<b>\n```cpp\nint a;\n```\n<e>\n", "<b>", "<e>"), "int a;\n");
    EXPECT_EQ(code_between("<b>\nint a;\n<e>\n", "<b>", "<e>"), "");
    EXPECT_EQ(code_between("<b>\n```cpp\nint a;\n```\n", "<b>", "<e>"), "");
}

}  // namespace
}  // namespace tern::test
