// What library code must not do: end the process, or write to its output streams.
#include <gtest/gtest.h>

#include "house/source_text.h"
#include "support/reference_data.h"

namespace tern::test {
namespace {

std::vector<std::string> forbidden_uses(std::string_view text) {
    const std::string code = parse_source(text).code;
    std::vector<std::string> out;
    const auto add = [&](const char* word, bool call) {
        for (int line : find_word(code, word, call)) out.push_back(std::to_string(line) + ": " + word);
    };
    for (const char* call : {"abort", "exit", "_exit", "_Exit", "quick_exit", "terminate", "printf", "fprintf", "vprintf",
                             "vfprintf", "dprintf", "puts", "fputs", "putchar", "fputc", "putc", "perror", "__builtin_trap",
                             "raise", "kill", "system"})
        add(call, true);
    for (const char* name : {"cout", "cerr", "clog", "wcout", "wcerr", "stdout", "stderr", "STDOUT_FILENO",
                             "STDERR_FILENO", "setenv", "putenv", "setlocale"})
        add(name, false);
    for (const char* print : {"fmt::print", "fmt::println", "std::print", "std::println"}) add(print, true);
    return out;
}

TEST(Habits, TheLibraryNeitherEndsTheProcessNorPrints) {
    const std::filesystem::path root = TERN_SOURCE_DIR;
    for (const char* folder : {"include", "kernels", "src"}) {
        for (const auto& path : sources_below(root / folder)) {
            const std::string text = read_file(path);
            for (const std::string& use : forbidden_uses(text))
                ADD_FAILURE() << std::filesystem::relative(path, root).string() << ":" << use;
        }
    }
}

TEST(Habits, TheCheckRefuses) {
    EXPECT_EQ(forbidden_uses("void f() { std::abort(); }").size(), 1u);
    EXPECT_EQ(forbidden_uses("std::cout << 1;\nfprintf(stderr, \"x\");").size(), 3u);
    EXPECT_EQ(forbidden_uses("fmt::print(\"x\");").size(), 1u);
    EXPECT_TRUE(forbidden_uses("// abort()\nsnprintf(b, 1, \"abort()\"); at_exit(); fmt::format(\"\");").empty());
}

}  // namespace
}  // namespace tern::test
