// Where the reference data lies: TERN_REFERENCE_DATA, else ../shared/data beside the source tree.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace tern::test {

inline std::filesystem::path reference_data() {
    if (const char* dir = std::getenv("TERN_REFERENCE_DATA")) return dir;
    return std::filesystem::path(TERN_SOURCE_DIR) / ".." / "shared" / "data";
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
std::vector<T> read_array(const std::filesystem::path& path) {
    const std::string bytes = read_file(path);
    std::vector<T> out(bytes.size() / sizeof(T));
    std::copy_n(bytes.data(), out.size() * sizeof(T), reinterpret_cast<char*>(out.data()));
    return out;
}

}  // namespace tern::test

// First statement of a test that needs the reference file or folder RELATIVE; defines `name`, its path.
#define TERN_REFERENCE(name, relative)                                            \
    const std::filesystem::path name = tern::test::reference_data() / (relative); \
    if (!std::filesystem::exists(name))                                           \
    GTEST_SKIP() << "reference data not found: " << name << " (set TERN_REFERENCE_DATA)"
