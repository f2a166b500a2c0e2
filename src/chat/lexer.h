// Cuts a template into texts and tokens: delimiters, white space control, trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tern::chat {

// Longest template.
inline constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;

enum class TokenKind : std::uint8_t {
    text,            // between the tags, white space control applied
    variable_begin,  // {{
    variable_end,
    block_begin,  // {%
    block_end,
    name,
    string,  // its value, escapes resolved
    integer,
    real,
    symbol,  // an operator or a bracket
    end,
};

struct Token {
    TokenKind kind;
    std::string text;
    std::uint32_t line;  // from 1
};

// Error(bad_file) with the line where the template cannot be cut. The last token is `end`.
std::vector<Token> cut_template(std::string_view source);

[[noreturn]] void syntax_error(std::uint32_t line, const std::string& message);

}  // namespace tern::chat
