// Operations on strings that methods and filters share. Origins are kept.
#pragma once

#include <optional>

#include "chat/value.h"

namespace tern::chat {

Text upper(const Text& text);
Text lower(const Text& text);
Text capitalized(const Text& text);
// Every run of letters begins with a capital (str.title).
Text titled(const Text& text);
Text replaced(Context& context, const Text& text, const Text& from, const Text& to, std::int64_t count);
// `chars` absent: white space.
Text strip(const Text& text, Ends ends, const std::optional<Text>& chars);
// Without a separator: runs of white space. `most` < 0: all.
std::vector<Text> split(Context& context, const Text& text, const std::optional<Text>& separator, std::int64_t most);
std::vector<Text> split_right(Context& context, const Text& text, const std::optional<Text>& separator,
                              std::int64_t most);
std::vector<Text> split_lines(Context& context, const Text& text, bool keep_ends);
// Padded to `width` code points.
enum class Align { left, right, center };
Text padded(Context& context, const Text& text, std::int64_t width, std::string_view fill, Align align);

Value list_of(Context& context, std::vector<Text> texts);

}  // namespace tern::chat
