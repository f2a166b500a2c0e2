// Filters that give a string.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "chat/args.h"
#include "chat/filters.h"
#include "chat/format.h"
#include "chat/strings.h"

namespace tern::chat {
namespace {

template <Text (*change)(const Text&)>
Value changed(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "this filter", args, {});
    return context.string(change(to_text(context, subject)));
}

Value trim(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "trim", args, {"chars"});
    std::optional<Text> chars;
    if (bound.has(0) && !bound.get(0, {}).is(Kind::none)) chars = bound.text(0);
    return context.string(strip(to_text(context, subject), Ends::both, chars));
}

// A letter behind a space, a hyphen or an opening bracket is a capital, all others are small.
Text title_words(const Text& text) {
    bool begins = true;
    Text out;
    for (std::size_t at = 0; at < text.size();) {
        const utf8::CodePoint c = utf8::decode(text.view(), at);
        const Text one = text.slice(at, at + c.length);
        out.append(begins ? upper(one) : lower(one));
        begins = is_space(c.value) || std::u32string_view(U"-({[<").find(c.value) != std::u32string_view::npos;
        at += c.length;
    }
    return out;
}

Value replace(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "replace", args, {"old", "new", "count"});
    const bool all = !bound.has(2) || bound.get(2, {}).is(Kind::none);
    return context.string(replaced(context, to_text(context, subject), to_text(context, bound.need(0)),
                                   to_text(context, bound.need(1)), all ? -1 : bound.integer(2, -1)));
}

Value indent(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "indent", args, {"width", "first", "blank"});
    Text indention;
    if (bound.has(0) && bound.get(0, {}).is(Kind::string))
        indention = bound.text(0);
    else
        indention = padded(context, Text(), std::max<std::int64_t>(bound.integer(0, 4), 0), " ", Align::left);
    // A line break at the end counts as one more, empty line.
    Text text = to_text(context, subject);
    text.append("\n");
    const std::vector<Text> lines = split_lines(context, text, false);
    Text out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        context.charge_bytes(lines[i].size() + indention.size());
        if (i > 0) out.append("\n");
        if (i == 0 ? bound.flag(1, false) : bound.flag(2, false) || !lines[i].empty()) out.append(indention);
        out.append(lines[i]);
        if (out.size() > kMaxStringBytes) context.charge_bytes(out.size());
    }
    return context.string(std::move(out));
}

Value truncate(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "truncate", args, {"length", "killwords", "end", "leeway"});
    const Text text = to_text(context, subject);
    const std::int64_t most = bound.integer(0, 255);
    const bool kills = bound.flag(1, false);
    const Text end = bound.text(2, "...");
    const std::int64_t leeway = bound.has(3) && !bound.get(3, {}).is(Kind::none) ? bound.integer(3, 5) : 5;
    const auto marks = static_cast<std::int64_t>(count_code_points(end.view()));
    if (most < marks || leeway < 0) context.fail("truncate: the length must be at least that of the end, the leeway 0");
    if (most > static_cast<std::int64_t>(kMaxStringBytes) ||
        static_cast<std::int64_t>(count_code_points(text.view())) - most <= leeway)
        return context.string(text);
    Text out = text.slice(0, byte_of(text.view(), static_cast<std::size_t>(most - marks)));
    if (!kills) {
        const std::size_t space = out.view().rfind(' ');
        if (space != std::string_view::npos) out = out.slice(0, space);
    }
    out.append(end);
    return context.string(std::move(out));
}

Value center(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "center", args, {"width"});
    return context.string(padded(context, to_text(context, subject), bound.integer(0, 80), " ", Align::center));
}

Value format_filter(Context& context, const Value& subject, const Args& args) {
    if (!args.positional.empty() && !args.named.empty())
        context.fail("format: positional and named arguments cannot be mixed");
    if (!args.named.empty()) {
        Dict* names = context.new_dict();
        for (const auto& [name, value] : args.named) names->set(context, context.string(name), value);
        return context.string(format_percent(context, to_text(context, subject), Value::of(names)));
    }
    List* values = context.new_list(args.positional.size());
    values->items = args.positional;
    return context.string(format_percent(context, to_text(context, subject), Value::of(values, Kind::tuple)));
}

Text escaped(const Text& text) {
    return map_code_points(text, [](char32_t c, std::size_t, std::string& out) {
        switch (c) {
            case '&': out = "&amp;"; return;
            case '<': out = "&lt;"; return;
            case '>': out = "&gt;"; return;
            case '\'': out = "&#39;"; return;
            case '"': out = "&#34;"; return;
            default: utf8::append(c, out);
        }
    });
}

Text without_tags(const Text& text) {
    // Comments and tags go, runs of white space become one space.
    std::string kept;
    Text out;
    for (std::size_t at = 0; at < text.size();) {
        const std::string_view rest = text.view().substr(at);
        std::size_t end = std::string_view::npos;
        if (rest.starts_with("<!--"))
            end = rest.find("-->") == std::string_view::npos ? end : rest.find("-->") + 3;
        else if (rest.starts_with('<'))
            end = rest.find('>') == std::string_view::npos ? end : rest.find('>') + 1;
        if (end != std::string_view::npos) {
            at += end;
            continue;
        }
        out.append(text, at, at + 1);
        ++at;
    }
    Text tidy;
    bool space = false;
    for (std::size_t at = 0; at < out.size();) {
        const utf8::CodePoint c = utf8::decode(out.view(), at);
        if (c.valid && is_space(c.value)) {
            space = true;
        } else {
            if (space && !tidy.empty()) tidy.append(" ");
            space = false;
            tidy.append(out, at, at + c.length);
        }
        at += c.length;
    }
    return tidy;
}

std::string percent_encoded(std::string_view text, bool keep_slash) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && keep_slash);
        if (plain)
            out += c;
        else if (c == ' ' && !keep_slash)
            out += '+';  // as forms are encoded
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

Value url_encoded(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "urlencode", args, {});
    std::string out;
    if (!subject.is(Kind::dict)) {
        const Text text = to_text(context, subject);
        context.charge_bytes(3 * text.size());
        return context.string(Text::foreign(percent_encoded(text.view(), true)));
    }
    for (const auto& [key, value] : subject.dict->items) {
        if (!out.empty()) out += '&';
        out += percent_encoded(to_text(context, key).view(), false) + "=" +
               percent_encoded(to_text(context, value).view(), false);
        context.charge_bytes(out.size());
    }
    return context.string(Text::foreign(std::move(out)));
}

Value file_size(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "filesizeformat", args, {"binary"});
    const bool binary = bound.flag(0, false);
    const double base = binary ? 1024 : 1000;
    const Value number = apply_filter(context, "float", subject, {});
    const double bytes = number.real;
    if (bytes == 1) return context.string(std::string("1 Byte"));
    if (bytes < base) return context.string(fmt::format("{} Bytes", static_cast<std::int64_t>(bytes)));
    double unit = base;
    std::string_view prefixes = "kMGTPEZY";
    std::size_t at = 0;
    for (; at + 1 < prefixes.size() && bytes >= unit * base; ++at) unit *= base;
    const std::string prefix = binary && at == 0 ? "K" : std::string(1, prefixes[at]);
    return context.string(fmt::format("{:.1f} {}{}", bytes / unit, prefix, binary ? "iB" : "B"));
}

}  // namespace

Filter find_text_filter(std::string_view name) noexcept {
    static const std::unordered_map<std::string_view, Filter> table = {
        {"upper", changed<upper>},       {"lower", changed<lower>},     {"capitalize", changed<capitalized>},
        {"title", changed<title_words>}, {"trim", trim},                {"replace", replace},
        {"indent", indent},              {"truncate", truncate},        {"center", center},
        {"format", format_filter},       {"escape", changed<escaped>},  {"e", changed<escaped>},
        {"forceescape", changed<escaped>}, {"striptags", changed<without_tags>}, {"urlencode", url_encoded},
        {"filesizeformat", file_size}};
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

}  // namespace tern::chat
