// GGUF files put together byte by byte, right or wrong, without the code under test.
#pragma once

#include <gtest/gtest.h>
#include <tern/error.h>
#include <tern/gguf.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace tern::test {

template <class T>
std::string raw(T value) {
    std::string out(sizeof value, '\0');
    std::memcpy(out.data(), &value, sizeof value);
    return out;
}

inline std::string raw_string(const std::string& text, std::uint64_t length) {
    return raw(length) + text;
}
inline std::string raw_string(const std::string& text) {
    return raw_string(text, text.size());
}

inline std::string entry(const std::string& key, std::uint32_t type, const std::string& payload) {
    return raw_string(key) + raw(type) + payload;
}

inline std::string array_payload(std::uint32_t element, std::uint64_t count, const std::string& elements) {
    return raw(element) + raw(count) + elements;
}

// The fields a test spoils; defaults are right.
struct RawTensor {
    std::string name = "a.weight";
    std::vector<std::uint64_t> shape = {8, 4};
    std::uint32_t type = 0;  // F32
    std::uint64_t offset = 0;
    std::int64_t rank = -1;  // -1: that of shape

    std::string bytes() const {
        std::string out = raw_string(name);
        out += raw(rank < 0 ? static_cast<std::uint32_t>(shape.size()) : static_cast<std::uint32_t>(rank));
        for (const std::uint64_t d : shape) out += raw(d);
        return out + raw(type) + raw(offset);
    }
};

struct RawFile {
    std::string magic = "GGUF";
    std::uint32_t version = 3;
    std::int64_t tensor_count = -1;  // -1: that of tensors
    std::int64_t key_count = -1;
    std::vector<std::string> entries;
    std::vector<RawTensor> tensors;
    std::string data;
    std::uint64_t alignment = 32;

    // Without padding and data.
    std::string header() const {
        std::string out = magic + raw(version);
        out +=
            raw<std::uint64_t>(tensor_count < 0 ? tensors.size() : static_cast<std::uint64_t>(tensor_count));
        out += raw<std::uint64_t>(key_count < 0 ? entries.size() : static_cast<std::uint64_t>(key_count));
        for (const std::string& e : entries) out += e;
        for (const RawTensor& t : tensors) out += t.bytes();
        return out;
    }

    std::string bytes() const {
        std::string out = header();
        if (const std::size_t rest = out.size() % alignment) out.append(alignment - rest, '\0');
        return out + data;
    }
};

inline std::string pattern(std::size_t size) {
    std::string out(size, '\0');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 37 + 11);
    return out;
}

// Every kind of thing a file can hold; its last tensor ends with the file.
inline RawFile small_file() {
    RawFile f;
    f.entries = {
        entry("general.architecture", 8, raw_string("tiny")),
        entry("tiny.block_count", 4, raw<std::uint32_t>(2)),
        entry("tiny.flag", 7, std::string(1, '\1')),
        entry("tiny.eps", 6, raw(1e-5f)),
        entry("tokens", 9, array_payload(8, 3, raw_string("a") + raw_string("") + raw_string("bcd"))),
        entry("scores", 9, array_payload(6, 2, raw(0.5f) + raw(-1.0f))),
        entry("none", 9, array_payload(5, 0, "")),
    };
    f.tensors = {
        {.name = "a.weight", .shape = {8, 4}, .type = 0, .offset = 0},      // 128 bytes
        {.name = "b.weight", .shape = {32, 2}, .type = 8, .offset = 128},   // 68 bytes, padded to 96
        {.name = "c.weight", .shape = {2, 2, 2}, .type = 0, .offset = 224}  // 32 bytes
    };
    f.data = pattern(256);
    std::fill(f.data.begin() + 196, f.data.begin() + 224, '\0');  // padding carries nothing, so Writer makes it zero
    return f;
}

// A copy of exactly its size on the heap, so that a read past the end is seen by the address sanitizer.
class HeapCopy {
public:
    explicit HeapCopy(const std::string& text) : size_(text.size()), data_(new std::byte[text.size()]) {
        std::memcpy(data_.get(), text.data(), size_);
    }
    std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

private:
    std::size_t size_;
    std::unique_ptr<std::byte[]> data_;
};

class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "tern-test-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::runtime_error("cannot make a temporary folder");
        path_ = name;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
    std::filesystem::path write(const std::string& name, const std::string& content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
        return path_ / name;
    }
    std::size_t files() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
    }

private:
    std::filesystem::path path_;
};

// Runs `call`, which must throw a tern::Error with `code` whose message holds every needle on one line.
template <class Call>
void expect_error(Call call, ErrorCode code, const std::vector<std::string>& needles) {
    try {
        call();
        ADD_FAILURE() << "no error";
    } catch (const Error& e) {
        const std::string what = e.what();
        EXPECT_EQ(to_string(e.code()), std::string(to_string(code))) << what;
        for (const std::string& needle : needles) EXPECT_NE(what.find(needle), std::string::npos) << what;
        EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    }
}

}  // namespace tern::test
