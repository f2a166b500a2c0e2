#include "chat/strings.h"

#include <algorithm>

#include <utf8proc.h>

namespace tern::chat {
namespace {

char32_t to_upper(char32_t c) {
    return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
char32_t to_lower(char32_t c) {
    return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
char32_t to_title(char32_t c) {
    return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}
bool is_cased(char32_t c) {
    const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL || category == UTF8PROC_CATEGORY_LT;
}
constexpr char32_t kSharpS = 0xDF;  // the one common letter whose capital is two

}  // namespace

Text upper(const Text& text) {
    return map_code_points(text, [](char32_t c, std::size_t, std::string& out) {
        if (c == kSharpS)
            out = "SS";
        else
            utf8::append(to_upper(c), out);
    });
}

Text lower(const Text& text) {
    return map_code_points(text, [](char32_t c, std::size_t, std::string& out) { utf8::append(to_lower(c), out); });
}

Text capitalized(const Text& text) {
    return map_code_points(text, [](char32_t c, std::size_t index, std::string& out) {
        if (c == kSharpS && index == 0)
            out = "Ss";
        else
            utf8::append(index == 0 ? to_title(c) : to_lower(c), out);
    });
}

Text titled(const Text& text) {
    bool inside = false;
    return map_code_points(text, [&](char32_t c, std::size_t, std::string& out) {
        utf8::append(inside ? to_lower(c) : to_title(c), out);
        inside = is_cased(c);
    });
}

Text replaced(Context& context, const Text& text, const Text& from, const Text& to, std::int64_t count) {
    context.charge_bytes(text.size());
    Text out;
    if (count < 0) count = static_cast<std::int64_t>(text.size()) + 1;
    if (from.empty()) {
        // Between all code points, and at both ends.
        std::size_t at = 0;
        for (; count > 0; --count) {
            context.charge_bytes(to.size());
            out.append(to);
            if (out.size() > kMaxStringBytes) context.charge_bytes(out.size());
            if (at == text.size()) return out;
            const std::size_t end = at + utf8::decode(text.view(), at).length;
            out.append(text, at, end);
            at = end;
        }
        out.append(text, at, text.size());
        return out;
    }
    std::size_t at = 0;
    for (; count > 0; --count) {
        const std::size_t found = text.view().find(from.view(), at);
        if (found == std::string_view::npos) break;
        context.charge_bytes(to.size());
        out.append(text, at, found);
        out.append(to);
        if (out.size() > kMaxStringBytes) context.charge_bytes(out.size());
        at = found + from.size();
    }
    out.append(text, at, text.size());
    return out;
}

Text strip(const Text& text, Ends ends, const std::optional<Text>& chars) {
    TextRange range;
    if (!chars) {
        range = stripped(text.view(), ends, is_space);
    } else {
        std::vector<char32_t> set;
        for (std::size_t at = 0; at < chars->size();) {
            const utf8::CodePoint c = utf8::decode(chars->view(), at);
            set.push_back(c.value);
            at += c.length;
        }
        std::sort(set.begin(), set.end());
        range = stripped(text.view(), ends, [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); });
    }
    return text.slice(range.begin, range.end);
}

std::vector<Text> split(Context& context, const Text& text, const std::optional<Text>& separator, std::int64_t most) {
    context.charge_bytes(text.size());
    std::vector<Text> out;
    const auto add = [&](std::size_t begin, std::size_t end) {
        context.charge(4 * kUnitsPerElement);
        out.push_back(text.slice(begin, end));
    };
    const auto full = [&] { return most >= 0 && static_cast<std::int64_t>(out.size()) >= most; };
    std::size_t at = 0;
    if (separator) {
        if (separator->empty()) context.fail("split(): the separator is empty");
        while (!full()) {
            const std::size_t found = text.view().find(separator->view(), at);
            if (found == std::string_view::npos) break;
            add(at, found);
            at = found + separator->size();
        }
        add(at, text.size());
        return out;
    }
    const auto run = [&](std::size_t from, bool spaces) {
        while (from < text.size()) {
            const utf8::CodePoint c = utf8::decode(text.view(), from);
            if ((c.valid && is_space(c.value)) != spaces) break;
            from += c.length;
        }
        return from;
    };
    for (at = run(0, true); at < text.size(); at = run(at, true)) {
        if (full()) {
            add(at, text.size());
            break;
        }
        const std::size_t end = run(at, false);
        add(at, end);
        at = end;
    }
    return out;
}

std::vector<Text> split_right(Context& context, const Text& text, const std::optional<Text>& separator,
                              std::int64_t most) {
    if (most < 0) return split(context, text, separator, most);
    context.charge_bytes(text.size());
    std::vector<Text> out;
    const auto add = [&](std::size_t begin, std::size_t end) {
        context.charge(4 * kUnitsPerElement);
        out.push_back(text.slice(begin, end));
    };
    std::size_t end = text.size();
    if (separator) {
        if (separator->empty()) context.fail("rsplit(): the separator is empty");
        while (static_cast<std::int64_t>(out.size()) < most && end >= separator->size()) {
            const std::size_t found = text.view().substr(0, end).rfind(separator->view());
            if (found == std::string_view::npos) break;
            add(found + separator->size(), end);
            end = found;
        }
        add(0, end);
    } else {
        end = stripped(text.view(), Ends::right, is_space).end;
        while (end > 0) {
            if (static_cast<std::int64_t>(out.size()) >= most) {
                const TextRange rest = stripped(text.view().substr(0, end), Ends::left, is_space);
                if (rest.begin < rest.end) add(0, end);
                break;
            }
            const std::size_t begin =
                stripped(text.view().substr(0, end), Ends::right, [](char32_t c) { return !is_space(c); }).end;
            add(begin, end);
            end = stripped(text.view().substr(0, begin), Ends::right, is_space).end;
        }
    }
    std::reverse(out.begin(), out.end());
    return out;
}

std::vector<Text> split_lines(Context& context, const Text& text, bool keep_ends) {
    context.charge_bytes(text.size());
    std::vector<Text> out;
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
        const utf8::CodePoint c = utf8::decode(text.view(), at);
        const bool breaks = c.valid && ((c.value >= 0x0A && c.value <= 0x0D) || (c.value >= 0x1C && c.value <= 0x1E) ||
                                        c.value == 0x85 || c.value == 0x2028 || c.value == 0x2029);
        std::size_t end = at + c.length;
        if (breaks) {
            if (c.value == '\r' && end < text.size() && text.view()[end] == '\n') ++end;
            context.charge(4 * kUnitsPerElement);
            out.push_back(text.slice(begin, keep_ends ? end : at));
            begin = end;
        }
        at = end;
    }
    if (begin < text.size()) out.push_back(text.slice(begin, text.size()));
    return out;
}

Text padded(Context& context, const Text& text, std::int64_t width, std::string_view fill, Align align) {
    const auto size = static_cast<std::int64_t>(count_code_points(text.view()));
    if (width <= size) return text;
    if (width > static_cast<std::int64_t>(kMaxStringBytes)) context.charge_bytes(static_cast<std::size_t>(width));
    context.charge_bytes(static_cast<std::size_t>(width) * fill.size());
    const std::int64_t missing = width - size;
    // str.center puts the odd one on the left where the width is odd.
    const std::int64_t left = align == Align::left    ? 0
                              : align == Align::right ? missing
                                                      : missing / 2 + (missing & width & 1);
    Text out;
    for (std::int64_t i = 0; i < left; ++i) out.append(fill);
    out.append(text);
    for (std::int64_t i = left; i < missing; ++i) out.append(fill);
    return out;
}

Value list_of(Context& context, std::vector<Text> texts) {
    List* out = context.new_list(texts.size());
    for (Text& text : texts) out->items.push_back(context.string(std::move(text)));
    return Value::of(out);
}

}  // namespace tern::chat
