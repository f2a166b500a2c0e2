// str() and repr() as Python writes them.
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <utf8proc.h>

#include "chat/value.h"

namespace tern::chat {

std::string real_text(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    char buffer[64];
    // The shortest digits that name the value, fixed where the exponent is from -4 to 15.
    auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
    std::string scientific(buffer, end);
    int exponent = 0;
    const char* digits = scientific.data() + scientific.find('e') + 1;
    std::from_chars(digits + (*digits == '+' ? 1 : 0), scientific.data() + scientific.size(), exponent);
    if (exponent < -4 || exponent >= 16) return scientific;
    end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
    std::string fixed(buffer, end);
    if (fixed.find('.') == std::string::npos) fixed += ".0";
    return fixed;
}

namespace {

bool is_printable(char32_t c) {
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_CN:
        case UTF8PROC_CATEGORY_CC:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_CS:
        case UTF8PROC_CATEGORY_CO:
        case UTF8PROC_CATEGORY_ZL:
        case UTF8PROC_CATEGORY_ZP: return false;
        case UTF8PROC_CATEGORY_ZS: return c == ' ';
        default: return true;
    }
}

Text quoted(const Text& text) {
    const bool has_single = text.view().find('\'') != std::string_view::npos;
    const char quote = has_single && text.view().find('"') == std::string_view::npos ? '"' : '\'';
    Text out(std::string(1, quote));
    out.append(map_code_points(text, [&](char32_t c, std::size_t, std::string& piece) {
        if (c == '\\' || c == static_cast<char32_t>(quote))
            piece = {'\\', static_cast<char>(c)};
        else if (c == '\n')
            piece = "\\n";
        else if (c == '\r')
            piece = "\\r";
        else if (c == '\t')
            piece = "\\t";
        else if (is_printable(c))
            utf8::append(c, piece);
        else
            piece = c < 0x100     ? fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c))
                    : c < 0x10000 ? fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c))
                                  : fmt::format("\\U{:08x}", static_cast<std::uint32_t>(c));
    }));
    out.append(std::string_view(&quote, 1));
    return out;
}

void write(Context& context, const Value& value, Text& out);

void write_elements(Context& context, const std::vector<Value>& items, const char* open, const char* close, Text& out) {
    out.append(open);
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out.append(", ");
        write(context, items[i], out);
    }
    out.append(close);
}

void write(Context& context, const Value& value, Text& out) {
    const Deeper deeper(context);
    if (out.size() > kMaxStringBytes) context.charge_bytes(out.size());
    switch (value.kind) {
        case Kind::undefined: out.append("Undefined"); return;
        case Kind::none: out.append("None"); return;
        case Kind::boolean: out.append(value.boolean ? "True" : "False"); return;
        case Kind::integer: out.append(std::to_string(value.integer)); return;
        case Kind::real: out.append(real_text(value.real)); return;
        case Kind::string:
            context.charge_bytes(value.text->size());
            out.append(quoted(*value.text));
            return;
        case Kind::list: write_elements(context, value.list->items, "[", "]", out); return;
        case Kind::tuple:
            write_elements(context, value.list->items, "(", value.list->items.size() == 1 ? ",)" : ")", out);
            return;
        case Kind::generator: out.append("<generator object>"); return;
        case Kind::dict: {
            out.append("{");
            bool first = true;
            for (const auto& [key, element] : value.dict->items) {
                if (!first) out.append(", ");
                first = false;
                write(context, key, out);
                out.append(": ");
                write(context, element, out);
            }
            out.append("}");
            return;
        }
        case Kind::object: out.append(fmt::format("<{} object>", value.object->type_name())); return;
    }
}

}  // namespace

Text repr(Context& context, const Value& value) {
    Text out;
    write(context, value, out);
    return out;
}

Text to_text(Context& context, const Value& value) {
    if (value.is(Kind::undefined)) return {};
    if (value.is(Kind::string)) {
        context.charge_bytes(value.text->size());
        return *value.text;
    }
    return repr(context, value);
}

}  // namespace tern::chat
