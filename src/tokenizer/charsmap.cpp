#include "tokenizer/charsmap.h"

#include <fmt/format.h>

#include <tern/error.h>

namespace tern::tokenizer {

namespace {

constexpr std::string_view kKey = "tokenizer.ggml.precompiled_charsmap";
constexpr std::uint32_t kIsValue = 1u << 31;  // of a unit that holds a replacement's place

std::uint32_t label(std::uint32_t unit) noexcept {
    return unit & (kIsValue | 0xFF);
}
bool has_value(std::uint32_t unit) noexcept {
    return (unit >> 8 & 1) != 0;
}
std::uint32_t offset(std::uint32_t unit) noexcept {
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

std::uint32_t read_u32(std::string_view bytes, std::size_t at) noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    }
    return value;
}

}  // namespace

CharsMap::CharsMap(const gguf::File& file) {
    const gguf::Value* value = file.find(kKey);
    if (!value || value->size() == 0) return;
    const auto fail = [&](const std::string& problem) {
        throw Error(ErrorCode::bad_file, fmt::format("{}: key '{}': {}", file.name(), kKey, problem));
    };
    std::string bytes;
    for (const std::int64_t byte : value->as_integers()) {
        if (byte < -128 || byte > 255) fail(fmt::format("{} is not a byte", byte));
        bytes.push_back(static_cast<char>(byte));
    }
    if (bytes.size() < 4) fail(fmt::format("{} bytes, too few for the length of its trie", bytes.size()));
    const std::size_t trie = read_u32(bytes, 0);
    if (trie % 4 != 0 || trie == 0 || trie >= bytes.size() - 4) {
        fail(fmt::format("a trie of {} bytes in {} bytes", trie, bytes.size()));
    }
    units_.resize(trie / 4);
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = read_u32(bytes, 4 + 4 * i);
    replacements_ = bytes.substr(4 + trie);
    if (replacements_.back() != '\0') fail("the last replacement is not ended by a NUL");
    for (std::size_t i = 0; i < units_.size(); ++i) {
        if (units_[i] & kIsValue) continue;
        const std::size_t base = i ^ offset(units_[i]);
        // Any byte can follow.
        if ((base | 0xFF) >= units_.size()) {
            fail(fmt::format("unit {} of the trie leads outside its {} units", i, units_.size()));
        }
        if (has_value(units_[i]) && (units_[base] & ~kIsValue) >= replacements_.size()) {
            fail(fmt::format("unit {} of the trie names a replacement outside the {} bytes of them", i,
                             replacements_.size()));
        }
    }
}

CharsMap::Match CharsMap::longest(std::string_view text, std::size_t pos) const noexcept {
    Match best;
    if (units_.empty()) return best;
    std::size_t node = offset(units_[0]);
    for (std::size_t i = pos; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        node ^= byte;
        const std::uint32_t unit = units_[node];
        if (byte == 0 || label(unit) != byte) break;
        node ^= offset(unit);
        if (has_value(unit)) {
            best.length = i + 1 - pos;
            best.replacement = replacements_.c_str() + (units_[node] & ~kIsValue);
        }
    }
    return best;
}

}  // namespace tern::tokenizer
