// The order of the house: a folder uses only what stands above it (docs/architecture.md).
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "house/source_text.h"
#include "support/reference_data.h"

namespace tern::test {
namespace {

namespace fs = std::filesystem;

constexpr std::array kOrder = {"include",       "kernels",      "shaders",     "src/base",   "src/gguf",
                               "src/graph",     "src/backend",  "src/kv",      "src/tokenizer", "src/sampler",
                               "src/grammar",   "src/chat",     "src/models",  "src/engine", "tests",
                               "bench",         "examples"};

bool is_in(std::string_view path, std::string_view folder) {
    return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

// Position of a path, relative to the tree, in the order; -1 outside of it.
int rank(std::string_view path) {
    for (std::size_t i = 0; i < kOrder.size(); ++i)
        if (is_in(path, kOrder[i])) return static_cast<int>(i);
    return -1;
}

// A header of the C++ standard library is written without extension or folder.
bool is_standard(std::string_view name) { return name.find_first_of("./") == name.npos; }

// What a name that is not the tree's own may be, per folder. Empty: fine, otherwise what is wrong.
std::string check_external(std::string_view file, const Include& include) {
    const std::string_view name = include.name;
    if (is_in(file, "include") && !is_standard(name)) return "the public headers use the standard library only";
    if (is_in(file, "kernels")) {
        static const std::set<std::string_view> refused = {
            "vector", "string", "map", "unordered_map", "set", "unordered_set", "deque", "list", "forward_list", "queue",
            "stack", "array", "memory", "new", "functional", "thread", "mutex", "shared_mutex", "condition_variable",
            "future", "iostream", "istream", "ostream", "fstream", "sstream", "cstdio", "stdio.h", "stdexcept",
            "exception", "filesystem", "format", "regex", "cassert", "assert.h"};
        if (refused.contains(name)) return "kernels use no containers, allocation, threads, I/O or exceptions";
        // Only headers without functions that other objects also compile, so that no wide copy of one can be linked
        // into narrow code.
        static const std::set<std::string_view> in_isa = {"immintrin.h", "arm_neon.h", "cstddef",  "cstdint",
                                                          "cstring",     "stddef.h",   "stdint.h", "string.h",
                                                          "math.h",      "float.h"};
        const bool isa = is_in(file, "kernels/avx2") || is_in(file, "kernels/avxvnni") || is_in(file, "kernels/avx512") ||
                         is_in(file, "kernels/neon");
        if (isa && !in_isa.contains(name)) return "instruction-set code must not compile shared inline functions";
    }
    if (name == "cblas.h" && is_in(file, "src") && !is_in(file, "src/backend/blas"))
        return "OpenBLAS is known to backend blas only";
    if (name.starts_with("vulkan/") && !is_in(file, "src/backend/vulkan")) return "Vulkan is known to backend vulkan only";
    if (is_in(file, "examples")) {
        const bool known = is_standard(name) || name.starts_with("CLI/") || name == "httplib.h" ||
                           name.starts_with("nlohmann/") || name.starts_with("fmt/") || name.starts_with("sys/") || name.find('/') == name.npos;
        if (!known) return "the programs use public headers, CLI11, cpp-httplib, nlohmann-json, fmt and the system";
    }
    return {};
}

// What is wrong with an include, or nothing. `file` is relative to `root`.
std::string check_include(const fs::path& root, const std::string& file, const Include& include) {
    if (include.angled && !include.name.starts_with("tern/")) return check_external(file, include);

    const fs::path folder = fs::path(file).parent_path();
    fs::path target;
    for (const fs::path& base : {folder, fs::path("include"), fs::path(), fs::path("src"), fs::path("tests")}) {
        if (include.angled && base != "include") continue;
        if (fs::exists(root / base / include.name)) {
            target = (base / include.name).lexically_normal();
            break;
        }
    }
    const std::string to = target.generic_string();
    if (to.empty()) return "no such file in the tree";
    if (is_in(file, "include") && !include.angled) return "public headers name each other as <tern/...>";
    const int from_rank = rank(file);
    const int to_rank = rank(to);
    if (to_rank < 0) return to + " stands outside the order";
    // The measured ceilings and what a step costs are the benchmarks' own code, on public headers only, so that
    // `tern bench` can share them; its test may, too.
    const bool shared = to == "bench/ceilings.h" || to == "bench/cost.h";
    if (to_rank > from_rank && !(shared && is_in(file, "tests/cli"))) return to + " stands below";
    if (is_in(file, "examples") && is_in(to, "examples")) {
        if (fs::path(to).parent_path() != folder) return "programs do not share code";
    } else if (is_in(file, "examples") && !is_in(to, "include") && !shared) {
        return "the programs use public headers only";
    }
    if (is_in(file, "src/backend/cpu") && is_in(to, "src/backend/blas")) return "backend blas stands on cpu";
    if (is_in(file, "src/backend/cpu") && is_in(to, "src/backend/vulkan")) return "backends do not know each other";
    if (is_in(file, "src/backend/vulkan") && is_in(to, "src/backend/cpu")) return "backends do not know each other";
    return {};
}

TEST(Layering, EveryIncludeNamesWhatStandsAbove) {
    const fs::path root = TERN_SOURCE_DIR;
    std::size_t files = 0;
    std::size_t includes = 0;
    for (const char* folder : kOrder) {
        for (const fs::path& path : sources_below(root / folder)) {
            const std::string file = fs::relative(path, root).generic_string();
            const std::string text = read_file(path);
            ++files;
            for (const Include& include : parse_source(text).includes) {
                ++includes;
                const std::string wrong = check_include(root, file, include);
                EXPECT_EQ(wrong, "") << file << ":" << include.line << " includes " << include.name;
            }
        }
    }
    EXPECT_GT(files, 20u);
    EXPECT_GT(includes, 50u);
}

// The test above must be able to fail.
TEST(Layering, TheCheckRefuses) {
    const fs::path root = TERN_SOURCE_DIR;
    const auto angled = [&](const char* file, const char* name) { return check_include(root, file, {name, true, 1}); };
    const auto quoted = [&](const char* file, const char* name) { return check_include(root, file, {name, false, 1}); };
    EXPECT_EQ(angled("src/gguf/reader.cpp", "tern/gguf.h"), "");
    EXPECT_EQ(quoted("src/gguf/reader.cpp", "base/checked.h"), "");
    EXPECT_EQ(quoted("src/base/checked.h", "kernels/cpu.h"), "");
    EXPECT_NE(quoted("src/base/checked.h", "graph/graph.h"), "");
    EXPECT_NE(quoted("kernels/cpu.cpp", "base/checked.h"), "");
    EXPECT_NE(quoted("src/base/checked.h", "no/such/file.h"), "");
    EXPECT_NE(quoted("src/base/checked.h", "../tests/house/source_text.h"), "");
    EXPECT_NE(quoted("examples/cli/main.cpp", "base/checked.h"), "");
    EXPECT_NE(quoted("examples/cli/main.cpp", "kernels/cpu.h"), "");
    EXPECT_NE(angled("examples/cli/main.cpp", "openssl/ssl.h"), "");
    EXPECT_NE(quoted("examples/cli/main.cpp", "tests/support/reference_data.h"), "");
    EXPECT_EQ(angled("examples/cli/main.cpp", "CLI/CLI.hpp"), "");
    EXPECT_EQ(angled("examples/cli/main.cpp", "unistd.h"), "");
    EXPECT_EQ(quoted("src/backend/blas/backend.cpp", "backend/cpu/backend.h"), "");
    EXPECT_NE(quoted("src/backend/cpu/backend.cpp", "backend/blas/backend.h"), "");
    EXPECT_EQ(angled("src/backend/blas/openblas.cpp", "cblas.h"), "");
    EXPECT_NE(angled("src/backend/cpu/program.cpp", "cblas.h"), "");
    EXPECT_NE(angled("include/tern/gguf.h", "fmt/format.h"), "");
    EXPECT_NE(angled("include/tern/gguf.h", "nlohmann/json.hpp"), "");
    EXPECT_NE(quoted("include/tern/gguf.h", "error.h"), "");
    EXPECT_NE(angled("kernels/cpu.cpp", "vector"), "");
    EXPECT_NE(angled("kernels/avx2/table.cpp", "algorithm"), "");
    EXPECT_EQ(angled("kernels/avx2/table.cpp", "immintrin.h"), "");
}

TEST(Layering, EveryModuleHasTests) {
    const fs::path root = TERN_SOURCE_DIR;
    const auto has_tests = [&](const fs::path& folder) {
        for (const fs::path& path : sources_below(root / "tests" / folder))
            if (path.filename().string().ends_with("_test.cpp")) return true;
        return false;
    };
    EXPECT_TRUE(has_tests("kernels"));
    for (const auto& entry : fs::directory_iterator(root / "src"))
        if (entry.is_directory() && !sources_below(entry.path()).empty()) {
            const fs::path module = entry.path().filename();
            EXPECT_TRUE(has_tests(module)) << "tests/" << module.string() << " has no *_test.cpp";
        }
}

}  // namespace
}  // namespace tern::test
