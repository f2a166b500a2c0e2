// Jinja's documentation, "Whitespace Control" and "Synopsis", with trim_blocks and lstrip_blocks on, as chat templates
// are rendered. https://jinja.palletsprojects.com/en/stable/templates/
#include "chat/lexer.h"

#include <algorithm>

#include <fmt/format.h>

#include <tern/error.h>

#include "chat/text.h"

namespace tern::chat {

void syntax_error(std::uint32_t line, const std::string& message) {
    throw Error(ErrorCode::bad_file, one_line(fmt::format("chat template, line {}: {}", line, message)));
}

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0;
}
bool continues_name(char c) { return begins_name(c) || is_digit(c); }

// One kind of line break, and none at the end of the template.
std::string normalised(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] == '\r') {
            out += '\n';
            if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
        } else {
            out += source[i];
        }
    }
    if (out.ends_with('\n')) out.pop_back();
    return out;
}

class Lexer {
public:
    explicit Lexer(std::string_view source) : source_(normalised(source)), text_(source_) {}

    std::vector<Token> run() {
        while (at_ < text_.size()) between_tags();
        add(TokenKind::end, "");
        return std::move(tokens_);
    }

private:
    void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

    bool starts_with(std::string_view what, std::size_t from) const { return text_.substr(from).starts_with(what); }

    void advance(std::size_t to) {
        line_ += static_cast<std::uint32_t>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                                       text_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
        at_ = to;
    }

    std::size_t skip_space(std::size_t from) const {
        return from + stripped(text_.substr(from), Ends::left, is_space).begin;
    }

    // The text in front of a tag, without what the tag takes away on its left.
    void add_text(std::size_t end, char sign, bool is_variable) {
        std::string_view text = text_.substr(at_, end - at_);
        if (sign == '-') {
            text = text.substr(0, stripped(text, Ends::right, is_space).end);
        } else if (sign != '+' && !is_variable) {
            const std::size_t line = text.rfind('\n') + 1;  // 0 where there is no line break
            if ((line > 0 || line_begins_) && stripped(text.substr(line), Ends::left, is_space).begin == text.size() - line)
                text = text.substr(0, line);
        }
        if (!text.empty()) add(TokenKind::text, std::string(text));
        advance(end);
    }

    // Behind the end of a tag: what the tag takes away on its right.
    void finish_tag(std::size_t end, char sign, bool trims_line) {
        const std::size_t begin = end;
        if (sign == '-')
            end = skip_space(end);
        else if (sign != '+' && trims_line && end < text_.size() && text_[end] == '\n')
            ++end;
        line_begins_ = end > begin && text_[end - 1] == '\n';
        advance(end);
    }

    char sign_at(std::size_t at) const {
        return at < text_.size() && (text_[at] == '-' || text_[at] == '+') ? text_[at] : char{0};
    }

    void between_tags() {
        std::size_t tag = at_;
        do {
            tag = text_.find('{', tag);
            if (tag == std::string_view::npos) {
                add(TokenKind::text, std::string(text_.substr(at_)));
                return advance(text_.size());
            }
            ++tag;
        } while (tag >= text_.size() || (text_[tag] != '{' && text_[tag] != '%' && text_[tag] != '#'));
        --tag;
        const char kind = text_[tag + 1];
        const char sign = sign_at(tag + 2);
        const std::size_t inner = tag + 2 + (sign ? 1 : 0);
        add_text(tag, sign, kind == '{');
        if (kind == '#') return comment(inner);
        if (kind == '%' && raw(inner)) return;
        add(kind == '{' ? TokenKind::variable_begin : TokenKind::block_begin, "");
        advance(inner);
        expression(kind == '{');
    }

    void comment(std::size_t inner) {
        const std::size_t close = text_.find("#}", inner);
        if (close == std::string_view::npos) syntax_error(line_, "a comment '{#' without its '#}'");
        const char sign = close > inner ? sign_at(close - 1) : char{0};
        advance(close + 2);
        finish_tag(at_, sign, true);
    }

    // The end of `word` and the tag's end behind it, if that is what stands there.
    bool tag_of(std::string_view word, std::size_t from, std::size_t& end, char& sign) const {
        from = skip_space(from);
        if (!starts_with(word, from)) return false;
        from = skip_space(from + word.size());
        sign = sign_at(from);
        from += sign ? 1 : 0;
        end = from + 2;
        return starts_with("%}", from);
    }

    bool raw(std::size_t inner) {
        std::size_t end = 0;
        char sign = 0;
        if (!tag_of("raw", inner, end, sign) || sign == '+') return false;
        const std::uint32_t first = line_;
        advance(end);
        finish_tag(end, sign, false);
        for (std::size_t tag = text_.find("{%", at_); tag != std::string_view::npos; tag = text_.find("{%", tag + 2)) {
            const char before = sign_at(tag + 2);
            if (!tag_of("endraw", tag + 2 + (before ? 1 : 0), end, sign)) continue;
            add_text(tag, before, false);
            advance(end);
            finish_tag(end, sign, true);
            return true;
        }
        syntax_error(first, "'raw' without its 'endraw'");
    }

    // ---- inside of a tag ------------------------------------------------------------------------------------------

    bool tag_end(bool is_variable) {
        if (!open_.empty()) return false;
        const std::string_view close = is_variable ? "}}" : "%}";
        char sign = 0;
        if (text_[at_] == '-' || (text_[at_] == '+' && !is_variable)) sign = text_[at_];
        const std::size_t begin = at_ + (sign ? 1 : 0);
        if (!starts_with(close, begin)) return false;
        add(is_variable ? TokenKind::variable_end : TokenKind::block_end, "");
        advance(begin + 2);
        finish_tag(at_, sign, !is_variable);
        return true;
    }

    void expression(bool is_variable) {
        const std::uint32_t first = line_;
        open_.clear();
        for (;;) {
            advance(skip_space(at_));
            if (at_ == text_.size())
                syntax_error(first, is_variable ? "'{{' without its '}}'" : "'{%' without its '%}'");
            if (tag_end(is_variable)) return;
            token();
        }
    }

    void token() {
        const char c = text_[at_];
        if (is_digit(c)) return number();
        if (begins_name(c)) {
            std::size_t end = at_;
            while (end < text_.size() && continues_name(text_[end])) ++end;
            add(TokenKind::name, std::string(text_.substr(at_, end - at_)));
            return advance(end);
        }
        if (c == '"' || c == '\'') return string(c);
        for (const std::string_view two : {"//", "**", "==", "!=", "<=", ">="})
            if (starts_with(two, at_)) return symbol(two);
        if (std::string_view("+-/*%~[](){}<>=.:|,;").find(c) != std::string_view::npos) return symbol(text_.substr(at_, 1));
        const std::size_t length = utf8::decode(text_, at_).length;
        syntax_error(line_, fmt::format("unexpected character '{}'", text_.substr(at_, length)));
    }

    void symbol(std::string_view what) {
        const char c = what[0];
        if (what.size() == 1 && (c == '(' || c == '[' || c == '{')) open_ += c == '(' ? ')' : c == '[' ? ']' : '}';
        if (what.size() == 1 && (c == ')' || c == ']' || c == '}')) {
            if (open_.empty()) syntax_error(line_, fmt::format("unexpected '{}'", c));
            if (open_.back() != c) syntax_error(line_, fmt::format("unexpected '{}', expected '{}'", c, open_.back()));
            open_.pop_back();
        }
        add(TokenKind::symbol, std::string(what));
        advance(at_ + what.size());
    }

    // Digits with single underscores between them.
    std::size_t digits(std::size_t from) const {
        std::size_t end = from;
        while (end < text_.size() && is_digit(text_[end])) {
            ++end;
            if (end + 1 < text_.size() && text_[end] == '_' && is_digit(text_[end + 1])) ++end;
        }
        return end;
    }

    void number() {
        std::size_t end = digits(at_);
        bool real = false;
        const bool after_dot = !tokens_.empty() && tokens_.back().kind == TokenKind::symbol && tokens_.back().text == "." &&
                               at_ > 0 && text_[at_ - 1] == '.';
        if (!after_dot) {
            if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
                end = digits(end + 1);
                real = true;
            }
            if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
                const std::size_t sign = end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-') ? 1 : 0;
                const std::size_t last = digits(end + 1 + sign);
                if (last > end + 1 + sign) {
                    end = last;
                    real = true;
                }
            }
        }
        if (!real && end == at_ + 1 && text_[at_] == '0' && end < text_.size()) {
            const char base = text_[end];
            if (std::string_view("bBoOxX").find(base) != std::string_view::npos) {
                const auto belongs = [&](char c) {
                    if (base == 'x' || base == 'X') return std::isxdigit(static_cast<unsigned char>(c)) != 0 || c == '_';
                    return (c >= '0' && c <= (base == 'b' || base == 'B' ? '1' : '7')) || c == '_';
                };
                std::size_t last = end + 1;
                while (last < text_.size() && belongs(text_[last])) ++last;
                if (last > end + 1) end = last;
            }
        }
        std::string value(text_.substr(at_, end - at_));
        value.erase(std::remove(value.begin(), value.end(), '_'), value.end());
        add(real ? TokenKind::real : TokenKind::integer, std::move(value));
        advance(end);
    }

    void string(char quote) {
        std::size_t end = at_ + 1;
        while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
        if (end >= text_.size()) syntax_error(line_, fmt::format("a string without its closing {}", quote));
        add(TokenKind::string, unescaped(text_.substr(at_ + 1, end - at_ - 1)));
        advance(end + 1);
    }

    // The escapes of Python's strings.
    std::string unescaped(std::string_view body) const {
        std::string out;
        for (std::size_t at = 0; at < body.size(); ++at) {
            if (body[at] != '\\') {
                out += body[at];
                continue;
            }
            const char c = body[++at];
            switch (c) {
                case '\n': break;
                case 'a': out += '\a'; break;
                case 'b': out += '\b'; break;
                case 'f': out += '\f'; break;
                case 'n': out += '\n'; break;
                case 'r': out += '\r'; break;
                case 't': out += '\t'; break;
                case 'v': out += '\v'; break;
                case '\\':
                case '\'':
                case '"': out += c; break;
                case 'x': code(body, at, 2, 16, true, out); break;
                case 'u': code(body, at, 4, 16, true, out); break;
                case 'U': code(body, at, 8, 16, true, out); break;
                case 'N': syntax_error(line_, "character names (\\N{…}) are not supported; write the character itself");
                default:
                    if (c >= '0' && c <= '7') {
                        --at;
                        code(body, at, 3, 8, false, out);
                    } else {
                        out += '\\';
                        out += c;
                    }
            }
        }
        return out;
    }

    // Reads digits behind body[at] and leaves `at` on the last of them.
    std::uint32_t read_code(std::string_view body, std::size_t& at, std::size_t count, std::uint32_t base, bool all) const {
        std::uint32_t value = 0;
        std::size_t read = 0;
        for (; read < count && at + 1 < body.size(); ++read, ++at) {
            const char c = body[at + 1];
            const std::uint32_t digit = is_digit(c)             ? static_cast<std::uint32_t>(c - '0')
                                        : c >= 'a' && c <= 'f' ? static_cast<std::uint32_t>(c - 'a' + 10)
                                        : c >= 'A' && c <= 'F' ? static_cast<std::uint32_t>(c - 'A' + 10)
                                                               : 99;
            if (digit >= base) break;
            value = value * base + digit;
        }
        if (all && read < count) syntax_error(line_, fmt::format("an escape in a string needs {} hexadecimal digits", count));
        return value;
    }

    void code(std::string_view body, std::size_t& at, std::size_t count, std::uint32_t base, bool all, std::string& out) const {
        std::uint32_t value = read_code(body, at, count, base, all);
        if (value >= 0xD800 && value < 0xDC00 && body.substr(at + 1).starts_with("\\u")) {
            std::size_t next = at + 2;
            const std::uint32_t low = read_code(body, next, 4, 16, true);
            if (low >= 0xDC00 && low < 0xE000) {
                value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
                at = next;
            }
        }
        if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
            syntax_error(line_, fmt::format("an escape in a string names U+{:04X}, which is no character", value));
        utf8::append(static_cast<char32_t>(value), out);
    }

    std::string source_;
    std::string_view text_;
    std::size_t at_ = 0;
    std::uint32_t line_ = 1;
    bool line_begins_ = true;
    std::string open_;  // the brackets that must close, innermost last
    std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> cut_template(std::string_view source) {
    if (source.size() > kMaxTemplateBytes)
        throw Error(ErrorCode::bad_file, fmt::format("chat template: it has {} bytes, the limit is {}", source.size(),
                                                     kMaxTemplateBytes));
    return Lexer(source).run();
}

}  // namespace tern::chat
