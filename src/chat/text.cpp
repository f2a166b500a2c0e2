#include "chat/text.h"

#include <algorithm>

namespace tern::chat {

Text Text::foreign(std::string bytes) {
    Text out(std::move(bytes));
    out.mark(0, out.size());
    return out;
}

Text Text::role(std::string bytes) {
    const bool word = std::all_of(bytes.begin(), bytes.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    });
    return word ? Text(std::move(bytes)) : foreign(std::move(bytes));
}

void Text::mark(std::size_t begin, std::size_t end) {
    if (begin == end) return;
    if (!ranges_.empty() && ranges_.back().end == begin)
        ranges_.back().end = end;
    else
        ranges_.push_back({begin, end});
}

bool Text::is_foreign(std::size_t byte) const noexcept {
    const auto next = std::upper_bound(ranges_.begin(), ranges_.end(), byte,
                                       [](std::size_t b, const TextRange& range) { return b < range.end; });
    return next != ranges_.end() && next->begin <= byte;
}

void Text::append(const Text& other, std::size_t begin, std::size_t end) {
    const std::size_t shift = size();
    bytes_.append(other.bytes_, begin, end - begin);
    auto range = std::upper_bound(other.ranges_.begin(), other.ranges_.end(), begin,
                                  [](std::size_t b, const TextRange& r) { return b < r.end; });
    for (; range != other.ranges_.end() && range->begin < end; ++range)
        mark(shift + std::max(range->begin, begin) - begin, shift + std::min(range->end, end) - begin);
}

void Text::append(std::string_view bytes, bool from_outside) {
    bytes_.append(bytes);
    if (from_outside) mark(size() - bytes.size(), size());
}

Text Text::slice(std::size_t begin, std::size_t end) const {
    Text out;
    out.append(*this, begin, end);
    return out;
}

std::size_t count_code_points(std::string_view text) noexcept {
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); ++count) at += utf8::decode(text, at).length;
    return count;
}

std::size_t byte_of(std::string_view text, std::size_t index) noexcept {
    std::size_t at = 0;
    for (; index > 0 && at < text.size(); --index) at += utf8::decode(text, at).length;
    return at;
}

std::string one_line(std::string text) {
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return text;
}

bool is_space(char32_t c) noexcept { return utf8::is_white_space(c) || (c >= 0x1C && c <= 0x1F); }

}  // namespace tern::chat
