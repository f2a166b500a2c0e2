// JSON in and out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/value.h"

namespace tern::chat {

// Strings of the result are foreign. `what` names the text in errors (Error(invalid_argument)).
Value parse_json(Context& context, std::string_view json, std::string_view what);

// As json.dumps of Python writes it.
struct JsonStyle {
    bool ensure_ascii = false;
    std::optional<std::string> indent{};  // absent: one line
    std::string item_separator = ", ";
    std::string key_separator = ": ";
    bool sort_keys = false;
};
Text to_json(Context& context, const Value& value, const JsonStyle& style);

}  // namespace tern::chat
