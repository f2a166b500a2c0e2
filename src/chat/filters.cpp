// Finds filters by name, and the filters that convert a value.
#include "chat/filters.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "chat/args.h"
#include "chat/json.h"
#include "chat/strings.h"

namespace tern::chat {

Value apply_filter(Context& context, std::string_view name, const Value& subject, const Args& args) {
    const Deeper deeper(context);
    for (const auto find : {find_choice_filter, find_text_filter, find_list_filter})
        if (const Filter filter = find(name)) return filter(context, subject, args);
    context.fail(fmt::format("no filter named '{}'", name), ErrorCode::unsupported);
}

Value value_at(Context& context, const Value& value, const Value& path) {
    if (!path.is(Kind::string)) return item(context, value, path);
    Value out = value;
    const std::string_view text = path.view();
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find('.', at), text.size());
        const std::string_view part = text.substr(at, end - at);
        std::int64_t index = 0;
        const auto [rest, error] = std::from_chars(part.data(), part.data() + part.size(), index);
        const bool number = error == std::errc() && rest == part.data() + part.size() && index >= 0;
        out = item(context, out, number ? Value::of(index) : context.string(std::string(part)));
        at = end + 1;
    }
    return out;
}

namespace {

Value default_value(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "default", args, {"default_value", "boolean"});
    const bool replace = subject.is(Kind::undefined) || (bound.flag(1, false) && !truth(subject));
    return replace ? bound.get(0, context.string(Text())) : subject;
}

Value get_attribute(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "attr", args, {"name"});
    require_defined(context, subject);
    if (subject.is(Kind::dict)) {  // attributes only, no items
        Dict* none = context.new_dict();
        return attribute(context, Value::of(none), bound.text(0).view());
    }
    return attribute(context, subject, bound.text(0).view());
}

Value to_integer(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "int", args, {"default", "base"});
    const Value fallback = bound.get(0, Value::of(std::int64_t{0}));
    require_defined(context, subject);
    if (subject.is_integral()) return Value::of(subject.as_integer());
    double real = 0;
    if (subject.is(Kind::real)) {
        real = subject.real;
    } else if (subject.is(Kind::string)) {
        const Text text = strip(*subject.text, Ends::both, std::nullopt);
        std::string_view digits = text.view();
        const bool minus = digits.starts_with('-');
        if (minus || digits.starts_with('+')) digits.remove_prefix(1);
        auto base = static_cast<int>(bound.integer(1, 10));
        if (base < 2 || base > 36) return fallback;
        if (base == 16 && (digits.starts_with("0x") || digits.starts_with("0X"))) digits.remove_prefix(2);
        if (base == 8 && (digits.starts_with("0o") || digits.starts_with("0O"))) digits.remove_prefix(2);
        if (base == 2 && (digits.starts_with("0b") || digits.starts_with("0B"))) digits.remove_prefix(2);
        std::int64_t value = 0;
        const char* end = digits.data() + digits.size();
        const auto whole = std::from_chars(digits.data(), end, value, base);
        if (!digits.starts_with('-') && whole.ec == std::errc() && whole.ptr == end) return Value::of(minus ? -value : value);
        const auto decimal = std::from_chars(digits.data(), end, real);
        if (digits.starts_with('-') || decimal.ec != std::errc() || decimal.ptr != end) return fallback;
        if (minus) real = -real;
    } else {
        return fallback;
    }
    return std::abs(real) < 9.2e18 ? Value::of(static_cast<std::int64_t>(real)) : fallback;
}

Value to_real(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "float", args, {"default"});
    require_defined(context, subject);
    if (subject.is_number()) return Value::of(subject.as_real());
    if (subject.is(Kind::string)) {
        const Text text = strip(*subject.text, Ends::both, std::nullopt);
        std::string_view digits = text.view();
        if (digits.starts_with('+')) digits.remove_prefix(1);
        double value = 0;
        const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error == std::errc() && rest == digits.data() + digits.size()) return Value::of(value);
    }
    return bound.get(0, Value::of(0.0));
}

Value absolute(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "abs", args, {});
    require_defined(context, subject);
    if (!subject.is_number()) context.fail(fmt::format("abs needs a number, not {}", type_name(subject)));
    if (subject.is(Kind::real)) return Value::of(std::abs(subject.real));
    return subject.as_integer() < 0 ? negative(context, subject) : Value::of(subject.as_integer());
}

Value rounded(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "round", args, {"precision", "method"});
    require_defined(context, subject);
    if (!subject.is_number()) context.fail(fmt::format("round needs a number, not {}", type_name(subject)));
    const std::int64_t precision = bound.integer(0, 0);
    const Text method = bound.text(1, "common");
    if (method.view() != "common" && method.view() != "ceil" && method.view() != "floor")
        context.fail("round: the method must be common, ceil or floor");
    if (precision < -300 || precision > 300) return Value::of(subject.as_real());
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double value = subject.as_real();
    if (method.view() == "ceil") return Value::of(std::ceil(value * scale) / scale);
    if (method.view() == "floor") return Value::of(std::floor(value * scale) / scale);
    if (subject.is_integral() && precision >= 0) return Value::of(subject.as_integer());
    if (subject.is_integral() && std::abs(value) < 9e15 && precision > -18)
        return Value::of(static_cast<std::int64_t>(std::nearbyint(value * scale) / scale));
    if (precision <= 0) return Value::of(std::nearbyint(value * scale) / scale);
    // The decimal that is nearest to the exact value, as Python's round: what printing with that precision gives.
    double out = value;
    if (std::isfinite(value) && precision < 30) {
        const std::string text = fmt::format("{:.{}f}", value, precision);
        std::from_chars(text.data(), text.data() + text.size(), out);
    }
    return Value::of(out);
}

Value to_json_filter(Context& context, const Value& subject, const Args& args) {
    // The parameters that the Transformers library gives its tojson, in its order.
    const Bound bound(context, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
    JsonStyle style;
    style.ensure_ascii = bound.flag(0, false);
    const Value indent = bound.get(1, Value::none());
    if (indent.is_integral()) {
        context.charge_bytes(static_cast<std::size_t>(std::max<std::int64_t>(indent.as_integer(), 0)));
        style.indent = std::string(static_cast<std::size_t>(std::max<std::int64_t>(indent.as_integer(), 0)), ' ');
    } else if (indent.is(Kind::string)) {
        style.indent = indent.text->bytes();
    } else if (!indent.is(Kind::none)) {
        context.fail(fmt::format("tojson: indent must be a number or a string, not {}", type_name(indent)));
    }
    if (style.indent) style.item_separator = ",";
    const Value separators = bound.get(2, Value::none());
    if (!separators.is(Kind::none)) {
        const std::vector<Value> both = iterate(context, separators);
        if (both.size() != 2 || !both[0].is(Kind::string) || !both[1].is(Kind::string))
            context.fail("tojson: separators must be two strings");
        style.item_separator = both[0].text->bytes();
        style.key_separator = both[1].text->bytes();
    }
    style.sort_keys = bound.flag(3, false);
    return context.string(to_json(context, subject, style));
}

Value to_string_filter(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "string", args, {});
    return subject.is(Kind::string) ? subject : context.string(to_text(context, subject));
}

Value printed(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "pprint", args, {});
    return context.string(repr(context, subject));
}

Value unchanged(Context&, const Value& subject, const Args&) { return subject; }

}  // namespace

Filter find_choice_filter(std::string_view name) noexcept {
    static const std::unordered_map<std::string_view, Filter> table = {
        {"default", default_value}, {"d", default_value},     {"attr", get_attribute},     {"int", to_integer},
        {"float", to_real},         {"abs", absolute},        {"round", rounded},          {"tojson", to_json_filter},
        {"string", to_string_filter}, {"pprint", printed},    {"safe", unchanged}};
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

}  // namespace tern::chat
