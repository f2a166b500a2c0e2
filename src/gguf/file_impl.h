// What stands behind a gguf::File: one Part per file on disk, and the joined view of them.
#pragma once

#include <tern/gguf.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace tern::gguf {

inline constexpr std::string_view kAlignmentKey = "general.alignment";
inline constexpr std::uint64_t kDefaultAlignment = 32;  // where the key is absent (GGUF specification)
inline constexpr std::uint64_t kMinAlignment = 8;       // "must be a multiple of 8" (GGUF specification)

// Elements and bytes of a tensor stay below 2^63, so that users may count in signed numbers.
inline constexpr std::uint64_t kMaxCount = std::numeric_limits<std::int64_t>::max();

bool is_valid_alignment(std::uint64_t alignment) noexcept;

// One file. Its Values and Tensors point into `bytes` and `name`, so a Part does not move.
struct Part {
    std::string name;
    base::MappedFile file;
    std::span<const std::byte> bytes;
    std::uint32_t version = 0;
    std::uint64_t alignment = kDefaultAlignment;
    std::vector<Value> metadata;
    std::vector<Tensor> tensors;

    Part() = default;
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    const Value* find(std::string_view key) const noexcept;
};

// Positions of metadata or tensors, sorted by key or name. Sorting keeps its cost whatever the keys are,
// which a hash table with a public hash function does not.
using Index = std::vector<std::uint32_t>;

inline std::string_view key_of(const Value& v) noexcept {
    return v.key();
}
inline std::string_view name_of(const Tensor& t) noexcept {
    return t.name;
}

template <class Item, class Text>
Index sorted_index(const std::vector<Item>& items, Text text) {
    Index index(items.size());
    std::iota(index.begin(), index.end(), 0u);
    // Equal texts stay in file order.
    std::sort(index.begin(), index.end(), [&](std::uint32_t a, std::uint32_t b) {
        const int order = text(items[a]).compare(text(items[b]));
        return order < 0 || (order == 0 && a < b);
    });
    return index;
}

// An item whose text an earlier one has; null where all differ.
template <class Item, class Text>
const Item* find_duplicate(const std::vector<Item>& items, const Index& index, Text text) {
    const auto at = std::adjacent_find(index.begin(), index.end(), [&](std::uint32_t a, std::uint32_t b) {
        return text(items[a]) == text(items[b]);
    });
    return at == index.end() ? nullptr : &items[*(at + 1)];
}

struct File::Impl {
    std::vector<std::unique_ptr<Part>> parts;
    std::vector<Value> metadata;
    std::vector<Tensor> tensors;
    Index keys;
    Index names;
};

struct FileBuilder {
    // Fills `part` (but name, file and bytes) from its bytes. Whether keys and names are unique is join()'s
    // to check.
    static void parse(Part& part, bool need_data);
    static std::unique_ptr<Part> open_part(const std::filesystem::path& path, const OpenOptions& options);
    // Joins the parts of a set (or the only file); duplicate tensor names are errors.
    static File join(std::vector<std::unique_ptr<Part>> parts);
    static File open_split(std::unique_ptr<Part> named, const std::filesystem::path& path,
                           const OpenOptions& options);

private:
    class Parser;
};

// What a file that does not begin with "GGUF" seems to be and what to do about it; never empty.
std::string describe_foreign(std::span<const std::byte> bytes);

// A hint for a tensor type id that formats.def does not have: its name where one is known.
std::string describe_unknown_format(std::uint32_t id);

}  // namespace tern::gguf
