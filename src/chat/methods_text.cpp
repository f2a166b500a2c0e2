// Methods of strings.
#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>
#include <utf8proc.h>

#include "chat/format.h"
#include "chat/methods.h"
#include "chat/strings.h"

namespace tern::chat {
namespace {

const Text& own(const Value& self) { return *self.text; }

template <Text (*change)(const Text&)>
Value changed(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "this string method", args, {});
    context.charge_bytes(self.text->size());
    return context.string(change(own(self)));
}

std::optional<Text> optional_text(Context& context, const Bound& bound, std::size_t i) {
    if (!bound.has(i) || bound.get(i, {}).is(Kind::none)) return std::nullopt;
    (void)context;
    return bound.text(i);
}

template <Ends ends>
Value stripping(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "strip", args, {"chars"});
    return context.string(strip(own(self), ends, optional_text(context, bound, 0)));
}

Value splitting(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "split", args, {"sep", "maxsplit"});
    return list_of(context, split(context, own(self), optional_text(context, bound, 0), bound.integer(1, -1)));
}

Value splitting_right(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "rsplit", args, {"sep", "maxsplit"});
    return list_of(context, split_right(context, own(self), optional_text(context, bound, 0), bound.integer(1, -1)));
}

Value splitting_lines(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "splitlines", args, {"keepends"});
    return list_of(context, split_lines(context, own(self), bound.flag(0, false)));
}

// Tuples of three: what stands before, the separator, what stands behind.
template <bool from_right>
Value partitioned(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "partition", args, {"sep"});
    const Text& text = own(self);
    const Text& separator = bound.text(0);
    if (separator.empty()) context.fail("partition(): the separator is empty");
    context.charge_bytes(text.size());
    const std::size_t at = from_right ? text.view().rfind(separator.view()) : text.view().find(separator.view());
    List* out = context.new_list(3);
    if (at == std::string_view::npos) {
        const Value empty = context.string(Text());
        out->items = from_right ? std::vector<Value>{empty, empty, self} : std::vector<Value>{self, empty, empty};
    } else {
        const std::size_t end = at + separator.size();
        out->items = {context.string(text.slice(0, at)), context.string(text.slice(at, end)),
                      context.string(text.slice(end, text.size()))};
    }
    return Value::of(out, Kind::tuple);
}

// The part that start and end, in code points, leave.
std::pair<std::size_t, std::size_t> window(const Text& text, const Bound& bound, std::size_t first) {
    if (!bound.has(first)) return {0, text.size()};
    const auto size = static_cast<std::int64_t>(count_code_points(text.view()));
    const auto clamped = [&](std::int64_t at) {
        return static_cast<std::size_t>(std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size));
    };
    const std::size_t begin = byte_of(text.view(), clamped(bound.integer(first, 0)));
    const std::size_t end = byte_of(text.view(), clamped(bound.integer(first + 1, size)));
    return {begin, std::max(begin, end)};
}

template <bool at_end>
Value begins_or_ends(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, at_end ? "endswith" : "startswith", args, {"prefix", "start", "end"});
    const auto [begin, end] = window(own(self), bound, 1);
    const std::string_view text = self.view().substr(begin, end - begin);
    const auto matches = [&](const Value& affix) {
        if (!affix.is(Kind::string))
            context.fail(fmt::format("startswith and endswith need a string or a tuple of strings, not {}", type_name(affix)));
        return at_end ? text.ends_with(affix.view()) : text.starts_with(affix.view());
    };
    const Value& affix = bound.need(0);
    if (!affix.is(Kind::tuple)) return Value::of(matches(affix));
    return Value::of(std::any_of(affix.list->items.begin(), affix.list->items.end(), matches));
}

template <bool from_right, bool must>
Value finding(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "find", args, {"sub", "start", "end"});
    context.charge_bytes(self.text->size());
    const auto [begin, end] = window(own(self), bound, 1);
    const std::string_view text = self.view().substr(begin, end - begin);
    const std::string_view wanted = bound.text(0).view();
    const std::size_t at = from_right ? text.rfind(wanted) : text.find(wanted);
    if (at == std::string_view::npos) {
        if (must) context.fail("index(): the string has no such part");
        return Value::of(std::int64_t{-1});
    }
    return Value::of(static_cast<std::int64_t>(count_code_points(self.view().substr(0, begin + at))));
}

Value counting(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "count", args, {"sub", "start", "end"});
    context.charge_bytes(self.text->size());
    const auto [begin, end] = window(own(self), bound, 1);
    const std::string_view text = self.view().substr(begin, end - begin);
    const std::string_view wanted = bound.text(0).view();
    if (wanted.empty()) return Value::of(static_cast<std::int64_t>(count_code_points(text) + 1));
    std::int64_t count = 0;
    for (std::size_t at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size()))
        ++count;
    return Value::of(count);
}

Value replacing(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "replace", args, {"old", "new", "count"});
    return context.string(replaced(context, own(self), bound.text(0), bound.text(1), bound.integer(2, -1)));
}

Value joining(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "join", args, {"iterable"});
    Text out;
    bool first = true;
    for (const Value& part : iterate(context, bound.need(0))) {
        if (!part.is(Kind::string))
            context.fail(fmt::format("join(): the elements must be strings, not {}", type_name(part)));
        context.charge_bytes(part.text->size() + self.text->size());
        if (!first) out.append(own(self));
        first = false;
        out.append(*part.text);
    }
    return context.string(std::move(out));
}

template <Align align>
Value padding(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "ljust, rjust and center", args, {"width", "fillchar"});
    bound.need(0);
    const Text fill = bound.text(1, " ");
    if (count_code_points(fill.view()) != 1) context.fail("the fill character must be one character");
    return context.string(padded(context, own(self), bound.integer(0, 0), fill.view(), align));
}

Value zero_filling(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "zfill", args, {"width"});
    bound.need(0);
    const std::int64_t width = bound.integer(0, 0);
    const bool sign = self.view().starts_with('+') || self.view().starts_with('-');
    Text digits = padded(context, own(self).slice(sign ? 1 : 0, self.text->size()), sign && width > 0 ? width - 1 : width,
                         "0", Align::right);
    Text out = own(self).slice(0, sign ? 1 : 0);
    out.append(digits);
    return context.string(std::move(out));
}

Value without_prefix(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "removeprefix", args, {"prefix"});
    const bool there = self.view().starts_with(bound.text(0).view());
    return context.string(own(self).slice(there ? bound.text(0).size() : 0, self.text->size()));
}

Value without_suffix(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "removesuffix", args, {"suffix"});
    const bool there = self.view().ends_with(bound.text(0).view());
    return context.string(own(self).slice(0, self.text->size() - (there ? bound.text(0).size() : 0)));
}

Value formatting(Context& context, const Value& self, const Args& args) {
    return context.string(format_braces(context, own(self), args));
}

Value expanding_tabs(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "expandtabs", args, {"tabsize"});
    const std::int64_t size = std::clamp<std::int64_t>(bound.integer(0, 8), 0, 64);
    context.charge_bytes(self.text->size() * static_cast<std::size_t>(size + 1));
    std::int64_t column = 0;
    return context.string(map_code_points(own(self), [&](char32_t c, std::size_t, std::string& out) {
        if (c == '\t') {
            const std::int64_t count = size > 0 ? size - column % size : 0;
            out.assign(static_cast<std::size_t>(count), ' ');
            column += count;
            return;
        }
        utf8::append(c, out);
        column = c == '\n' || c == '\r' ? 0 : column + 1;
    }));
}

Text swapped(const Text& text) {
    Text out;
    for (std::size_t at = 0; at < text.size();) {
        const utf8::CodePoint c = utf8::decode(text.view(), at);
        const Text one = text.slice(at, at + c.length);
        const bool small = utf8proc_category(static_cast<utf8proc_int32_t>(c.value)) == UTF8PROC_CATEGORY_LL;
        out.append(small ? upper(one) : lower(one));
        at += c.length;
    }
    return out;
}

// ---- questions ----------------------------------------------------------------------------------------------------

bool in_category(char32_t c, std::string_view groups) {
    const char* name = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
    return groups.find(name[0]) != std::string_view::npos;
}
bool is_decimal(char32_t c) {
    return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ND;
}
bool is_letter(char32_t c) { return in_category(c, "L"); }
bool is_letter_or_number(char32_t c) { return in_category(c, "LN"); }
bool is_number(char32_t c) { return in_category(c, "N"); }
bool is_ascii(char32_t c) { return c < 0x80; }

template <bool (*matches)(char32_t), bool empty = false>
Value all_are(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "this string method", args, {});
    context.charge_bytes(self.text->size());
    for (std::size_t at = 0; at < self.text->size();) {
        const utf8::CodePoint c = utf8::decode(self.view(), at);
        if (!c.valid || !matches(c.value)) return Value::of(false);
        at += c.length;
    }
    return Value::of(empty || !self.text->empty());
}

template <utf8proc_category_t wanted, utf8proc_category_t refused>
Value cased(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "this string method", args, {});
    context.charge_bytes(self.text->size());
    bool found = false;
    for (std::size_t at = 0; at < self.text->size();) {
        const utf8::CodePoint c = utf8::decode(self.view(), at);
        const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c.value));
        if (category == refused || category == UTF8PROC_CATEGORY_LT) return Value::of(false);
        found = found || category == wanted;
        at += c.length;
    }
    return Value::of(found);
}

Value is_title(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "istitle", args, {});
    const Value has_letter = cased<UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_CN>(context, self, args);
    return Value::of(truth(has_letter) && titled(own(self)).view() == self.view());
}

}  // namespace

Method find_string_method(std::string_view name) noexcept {
    static const std::unordered_map<std::string_view, Method> table = {
        {"upper", changed<upper>},
        {"lower", changed<lower>},
        {"casefold", changed<lower>},
        {"capitalize", changed<capitalized>},
        {"title", changed<titled>},
        {"swapcase", changed<swapped>},
        {"strip", stripping<Ends::both>},
        {"lstrip", stripping<Ends::left>},
        {"rstrip", stripping<Ends::right>},
        {"split", splitting},
        {"rsplit", splitting_right},
        {"splitlines", splitting_lines},
        {"partition", partitioned<false>},
        {"rpartition", partitioned<true>},
        {"startswith", begins_or_ends<false>},
        {"endswith", begins_or_ends<true>},
        {"find", finding<false, false>},
        {"rfind", finding<true, false>},
        {"index", finding<false, true>},
        {"rindex", finding<true, true>},
        {"count", counting},
        {"replace", replacing},
        {"join", joining},
        {"ljust", padding<Align::left>},
        {"rjust", padding<Align::right>},
        {"center", padding<Align::center>},
        {"zfill", zero_filling},
        {"removeprefix", without_prefix},
        {"removesuffix", without_suffix},
        {"format", formatting},
        {"expandtabs", expanding_tabs},
        {"isdigit", all_are<is_decimal>},
        {"isdecimal", all_are<is_decimal>},
        {"isnumeric", all_are<is_number>},
        {"isalpha", all_are<is_letter>},
        {"isalnum", all_are<is_letter_or_number>},
        {"isspace", all_are<is_space>},
        {"isascii", all_are<is_ascii, true>},
        {"islower", cased<UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LU>},
        {"isupper", cased<UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL>},
        {"istitle", is_title},
    };
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

}  // namespace tern::chat
