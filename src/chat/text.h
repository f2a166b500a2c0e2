// A string that remembers which of its bytes came from outside the template.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <tern/tokenizer.h>

#include "tokenizer/utf8.h"

namespace tern::chat {

class Text {
public:
    Text() = default;
    explicit Text(std::string own) : bytes_(std::move(own)) {}  // written by the template
    static Text foreign(std::string bytes);            // all of it from outside
    // The role of a message. The host program gives it, and templates build control tokens from it ('<|' + role + '|>'):
    // a plain word counts as the template's own, anything else as foreign.
    static Text role(std::string bytes);

    std::string_view view() const noexcept { return bytes_; }
    const std::string& bytes() const noexcept { return bytes_; }
    std::size_t size() const noexcept { return bytes_.size(); }
    bool empty() const noexcept { return bytes_.empty(); }
    // Ascending, disjoint, none empty.
    const std::vector<TextRange>& foreign_ranges() const noexcept { return ranges_; }
    bool is_foreign(std::size_t byte) const noexcept;

    void append(std::string_view own) { bytes_.append(own); }
    void append(const Text& other) { append(other, 0, other.size()); }
    void append(const Text& other, std::size_t begin, std::size_t end);
    void append(std::string_view bytes, bool from_outside);
    Text slice(std::size_t begin, std::size_t end) const;

private:
    void mark(std::size_t begin, std::size_t end);

    std::string bytes_;
    std::vector<TextRange> ranges_;
};

// A new text of what `change(code point, index, out)` writes for each code point; origins are kept. A byte that is
// not UTF-8 stays as it is.
template <class Change>
Text map_code_points(const Text& text, const Change& change) {
    Text out;
    std::string piece;
    std::size_t index = 0;
    for (std::size_t at = 0; at < text.size(); ++index) {
        const utf8::CodePoint c = utf8::decode(text.view(), at);
        piece.clear();
        if (c.valid)
            change(c.value, index, piece);
        else
            piece = text.view().substr(at, c.length);
        out.append(piece, text.is_foreign(at));
        at += c.length;
    }
    return out;
}

std::size_t count_code_points(std::string_view text) noexcept;
// The byte where code point `index` begins; the size of the text if there are fewer.
std::size_t byte_of(std::string_view text, std::size_t index) noexcept;

// For messages, which are one line: control characters become spaces.
std::string one_line(std::string text);

// str.isspace of Python: White_Space and the separators U+001C to U+001F.
bool is_space(char32_t c) noexcept;
// The text between what `remove(code point)` takes away at its ends.
enum class Ends { left, right, both };
template <class Remove>
TextRange stripped(std::string_view text, Ends ends, const Remove& remove) {
    std::size_t begin = 0, end = text.size();
    while (ends != Ends::right && begin < end) {
        const utf8::CodePoint c = utf8::decode(text, begin);
        if (!c.valid || !remove(c.value)) break;
        begin += c.length;
    }
    while (ends != Ends::left && begin < end) {
        std::size_t at = end - 1;
        while (at > begin && end - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
        const utf8::CodePoint c = utf8::decode(text, at);
        if (!c.valid || at + c.length != end || !remove(c.value)) break;
        end = at;
    }
    return {begin, end};
}

}  // namespace tern::chat
