#include "chat/format.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "chat/strings.h"

namespace tern::chat {
namespace {

constexpr std::int64_t kMaxPrecision = 100;

// A format specification; the two syntaxes share its meaning.
struct Spec {
    std::string fill = " ";
    char align = 0;  // < > ^ =
    char sign = '-';
    bool alternate = false;
    char grouping = 0;
    std::int64_t width = 0;
    std::int64_t precision = -1;
    char type = 0;
};

std::int64_t read_number(Context& context, std::string_view text, std::size_t& at, std::int64_t fallback) {
    std::int64_t out = 0;
    const std::size_t begin = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
        out = out * 10 + (text[at] - '0');
        if (out > static_cast<std::int64_t>(kMaxStringBytes)) context.fail("a width or precision is too large");
    }
    return at == begin ? fallback : out;
}

void group_digits(std::string& number, char separator) {
    std::size_t begin = 0;
    while (begin < number.size() && !std::isdigit(static_cast<unsigned char>(number[begin]))) ++begin;
    std::size_t end = begin;
    while (end < number.size() && std::isdigit(static_cast<unsigned char>(number[end]))) ++end;
    while (end > begin + 3) number.insert(end -= 3, 1, separator);
}

std::string integer_digits(std::uint64_t magnitude, const Spec& spec) {
    const bool mark = spec.alternate;
    switch (spec.type) {
        case 'x': return fmt::format("{}{:x}", mark ? "0x" : "", magnitude);
        case 'X': return fmt::format("{}{:X}", mark ? "0X" : "", magnitude);
        case 'o': return fmt::format("{}{:o}", mark ? "0o" : "", magnitude);
        case 'b': return fmt::format("{}{:b}", mark ? "0b" : "", magnitude);
        default: return std::to_string(magnitude);
    }
}

std::string real_digits(Context& context, double magnitude, const Spec& spec) {
    if (spec.precision > kMaxPrecision) context.fail(fmt::format("a precision over {}", kMaxPrecision));
    const auto precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    if (!std::isfinite(magnitude)) return real_text(magnitude);
    switch (spec.type) {
        case 'e': return fmt::format("{:.{}e}", magnitude, precision);
        case 'E': return fmt::format("{:.{}E}", magnitude, precision);
        case 'g':
        case 'G': return fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
        case '%': return fmt::format("{:.{}f}%", magnitude * 100, precision);
        case 0:
            if (spec.precision < 0) return real_text(magnitude);
            return fmt::format("{:.{}g}", magnitude, std::max(precision, 1));
        default: return fmt::format("{:.{}f}", magnitude, precision);
    }
}

// Pads a number; '=' puts the padding behind the sign.
Text placed(Context& context, const Text& text, std::size_t sign, const Spec& spec, char fallback) {
    const char align = spec.align ? spec.align : fallback;
    if (align == '=') {
        Text out = text.slice(0, sign);
        out.append(padded(context, text.slice(sign, text.size()), spec.width - static_cast<std::int64_t>(sign), spec.fill,
                          Align::right));
        return out;
    }
    if (align == '^') {
        // Unlike str.center, the odd one goes to the right.
        const auto size = static_cast<std::int64_t>(count_code_points(text.view()));
        const Text left = padded(context, text, size + std::max<std::int64_t>(spec.width - size, 0) / 2, spec.fill, Align::right);
        return padded(context, left, spec.width, spec.fill, Align::left);
    }
    return padded(context, text, spec.width, spec.fill, align == '<' ? Align::left : Align::right);
}

Text formatted_number(Context& context, const Value& value, const Spec& spec) {
    bool is_negative = false;
    std::string digits;
    const bool as_integer = value.is_integral() && (spec.type == 0 || std::string_view("dxXobn").find(spec.type) != std::string_view::npos);
    if (as_integer) {
        const std::int64_t i = value.as_integer();
        is_negative = i < 0;
        digits = integer_digits(is_negative ? 0 - static_cast<std::uint64_t>(i) : static_cast<std::uint64_t>(i), spec);
    } else {
        const double d = value.as_real();
        is_negative = std::signbit(d) && !std::isnan(d);
        digits = real_digits(context, std::abs(d), spec);
    }
    if (spec.grouping) group_digits(digits, spec.grouping);
    std::string sign = is_negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
    const std::size_t length = sign.size();
    return placed(context, Text(std::move(sign) + digits), length, spec, '>');
}

// The character of a number: where it comes from is not known, so it counts as foreign.
Text character(Context& context, const Value& value) {
    if (value.is(Kind::string)) return *value.text;
    if (!value.is_integral() || value.as_integer() < 0 || value.as_integer() > 0x10FFFF)
        context.fail("%c needs a character or its code point");
    std::string out;
    utf8::append(static_cast<char32_t>(value.as_integer()), out);
    return Text::foreign(std::move(out));
}

Text formatted(Context& context, const Value& value, const Spec& spec) {
    if (value.is_number() && !(value.is(Kind::boolean) && spec.type == 0) && spec.type != 's') {
        if (spec.type == 'c') return placed(context, character(context, value), 0, spec, '<');
        return formatted_number(context, value, spec);
    }
    if (spec.type != 0 && spec.type != 's')
        context.fail(fmt::format("unknown format code '{}' for a value of type {}", spec.type, type_name(value)));
    Text text = to_text(context, value);
    if (spec.precision >= 0) text = text.slice(0, byte_of(text.view(), static_cast<std::size_t>(spec.precision)));
    return placed(context, text, 0, spec, '<');
}

// [[fill]align][sign][#][0][width][grouping][.precision][type]
Spec read_spec(Context& context, std::string_view text) {
    Spec spec;
    std::size_t at = 0;
    const auto is_align = [&](std::size_t i) {
        return i < text.size() && std::string_view("<>^=").find(text[i]) != std::string_view::npos;
    };
    if (!text.empty()) {
        const std::size_t first = utf8::decode(text, 0).length;
        if (is_align(first)) {
            spec.fill = text.substr(0, first);
            spec.align = text[first];
            at = first + 1;
        } else if (is_align(0)) {
            spec.align = text[0];
            at = 1;
        }
    }
    const auto take = [&](std::string_view set) {
        return at < text.size() && set.find(text[at]) != std::string_view::npos ? text[at++] : char{0};
    };
    if (const char sign = take("+- ")) spec.sign = sign;
    spec.alternate = take("#") != 0;
    if (take("0") != 0 && spec.align == 0) {
        spec.fill = "0";
        spec.align = '=';
    }
    spec.width = read_number(context, text, at, 0);
    spec.grouping = take(",_");
    if (take(".") != 0) spec.precision = read_number(context, text, at, 0);
    spec.type = take("sdxXobncfFeEgG%");
    if (at != text.size()) context.fail(fmt::format("invalid format specifier '{}'", text));
    return spec;
}

Value number_of(Context& context, const Value& value, char type) {
    if (value.is_number()) {
        if (value.is(Kind::real) && std::string_view("dxXo").find(type) != std::string_view::npos) {
            if (!(std::abs(value.real) < 9.2e18)) context.fail(fmt::format("%{} cannot write {}", type, real_text(value.real)));
            return Value::of(static_cast<std::int64_t>(value.real));
        }
        return value;
    }
    context.fail(fmt::format("%{} format: a real number is required, not {}", type, type_name(value)));
}

}  // namespace

Text format_percent(Context& context, const Text& format, const Value& value) {
    const std::string_view text = format.view();
    context.charge_bytes(text.size());
    Text out;
    std::size_t next = 0;
    const auto take = [&]() -> Value {
        if (value.is(Kind::tuple)) {
            if (next >= value.list->items.size()) context.fail("not enough arguments for the format string");
            return value.list->items[next++];
        }
        if (next++ > 0) context.fail("not enough arguments for the format string");
        return value;
    };
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t percent = std::min(text.find('%', at), text.size());
        out.append(format, at, percent);
        if (percent == text.size()) break;
        at = percent + 1;
        Value argument;
        bool named = false;
        if (at < text.size() && text[at] == '(') {
            const std::size_t close = text.find(')', at);
            if (close == std::string_view::npos || !value.is(Kind::dict))
                context.fail("format string: %(name) needs a closing parenthesis and a dict");
            argument = item(context, value, context.string(std::string(text.substr(at + 1, close - at - 1))));
            require_defined(context, argument);
            named = true;
            at = close + 1;
        }
        Spec spec;
        bool left = false, zero = false;
        for (; at < text.size() && std::string_view("-+ #0").find(text[at]) != std::string_view::npos; ++at) {
            left = left || text[at] == '-';
            zero = zero || text[at] == '0';
            spec.alternate = spec.alternate || text[at] == '#';
            if (text[at] == '+' || (text[at] == ' ' && spec.sign != '+')) spec.sign = text[at];
        }
        spec.width = read_number(context, text, at, 0);
        if (at < text.size() && text[at] == '.') spec.precision = read_number(context, text, ++at, 0);
        if (at == text.size()) context.fail("incomplete format: the string ends inside of it");
        char type = text[at++];
        if (type == '%') {
            out.append("%");
            continue;
        }
        if (!named) argument = take();
        if (type == 'i' || type == 'u') type = 'd';
        spec.align = left ? '<' : '>';
        if (type == 's' || type == 'r' || type == 'a') {
            spec.type = 's';
            out.append(formatted(context, type == 's' ? argument : context.string(repr(context, argument)), spec));
        } else if (type == 'c') {
            out.append(placed(context, character(context, argument), 0, spec, '>'));
        } else if (std::string_view("dxXofFeEgG").find(type) != std::string_view::npos) {
            if (zero && !left) {
                spec.fill = "0";
                spec.align = '=';
            }
            spec.type = type;
            out.append(formatted_number(context, number_of(context, argument, type), spec));
        } else {
            context.fail(fmt::format("unsupported format character '{}'", type));
        }
        if (out.size() > kMaxStringBytes) context.charge_bytes(out.size());
    }
    const bool all = value.is(Kind::tuple) ? next >= value.list->items.size() : next > 0 || value.is(Kind::dict);
    if (!all) context.fail("not all arguments were used by the format string");
    return out;
}

namespace {

class Braces {
public:
    Braces(Context& context, const Text& format, const Args& args) : context_(context), format_(format), args_(args) {}

    Text run(std::size_t begin, std::size_t end, int nesting) {
        const std::string_view text = format_.view();
        context_.charge_bytes(end - begin);
        Text out;
        for (std::size_t at = begin; at < end;) {
            const std::size_t brace = std::min(text.find_first_of("{}", at), end);
            out.append(format_, at, brace);
            if (brace == end) break;
            at = brace + 1;
            if (at < end && text[at] == text[brace]) {
                out.append(text.substr(brace, 1));
                ++at;
                continue;
            }
            if (text[brace] == '}') context_.fail("format string: a single '}'");
            int depth = 1;
            std::size_t close = at;
            for (; close < end && depth > 0; ++close) depth += text[close] == '{' ? 1 : text[close] == '}' ? -1 : 0;
            if (depth > 0) context_.fail("format string: '{' without its '}'");
            out.append(field(at, close - 1, nesting));
            if (out.size() > kMaxStringBytes) context_.charge_bytes(out.size());
            at = close;
        }
        return out;
    }

private:
    // name!conversion:spec
    Text field(std::size_t begin, std::size_t end, int nesting) {
        const std::string_view text = format_.view().substr(0, end);
        const std::size_t name_end = std::min(text.find_first_of("!:", begin), end);
        Value value = lookup(text.substr(begin, name_end - begin));
        std::size_t at = name_end;
        if (at < end && text[at] == '!') {
            if (at + 1 >= end || (text[at + 1] != 'r' && text[at + 1] != 's'))
                context_.fail("format string: the conversion must be !r or !s");
            value = context_.string(text[at + 1] == 'r' ? repr(context_, value) : to_text(context_, value));
            at += 2;
        }
        std::string spec;
        if (at < end) {
            if (text[at] != ':') context_.fail("format string: expected ':' after the conversion");
            if (nesting > 0 && text.find('{', at) != std::string_view::npos)
                context_.fail("format string: nested too deeply");
            spec = run(at + 1, end, nesting + 1).bytes();
        }
        return formatted(context_, value, read_spec(context_, spec));
    }

    Value lookup(std::string_view name) {
        const std::size_t end = std::min(name.find_first_of(".["), name.size());
        const std::string_view first = name.substr(0, end);
        Value value;
        if (first.empty() || std::all_of(first.begin(), first.end(), [](char c) { return c >= '0' && c <= '9'; })) {
            std::size_t at = 0;
            const auto i = static_cast<std::size_t>(first.empty() ? next_++ : read_number(context_, first, at, 0));
            if (i >= args_.positional.size()) context_.fail(fmt::format("format string: there is no argument {}", i));
            value = args_.positional[i];
        } else {
            const auto found = std::find_if(args_.named.begin(), args_.named.end(),
                                            [&](const auto& entry) { return entry.first == first; });
            if (found == args_.named.end()) context_.fail(fmt::format("format string: there is no argument '{}'", first));
            value = found->second;
        }
        for (std::size_t at = end; at < name.size();) {
            if (name[at] == '.') {
                const std::size_t stop = std::min(name.find_first_of(".[", at + 1), name.size());
                value = attribute(context_, value, name.substr(at + 1, stop - at - 1));
                at = stop;
            } else {
                const std::size_t close = name.find(']', at);
                if (name[at] != '[' || close == std::string_view::npos) context_.fail("format string: '[' without its ']'");
                const std::string_view key = name.substr(at + 1, close - at - 1);
                std::size_t digits = 0;
                const std::int64_t index = read_number(context_, key, digits, 0);
                value = item(context_, value, !key.empty() && digits == key.size() ? Value::of(index)
                                                                                  : context_.string(std::string(key)));
                at = close + 1;
            }
        }
        return value;
    }

    Context& context_;
    const Text& format_;
    const Args& args_;
    std::int64_t next_ = 0;
};

}  // namespace

Text format_braces(Context& context, const Text& format, const Args& args) {
    return Braces(context, format, args).run(0, format.size(), 0);
}

}  // namespace tern::chat
