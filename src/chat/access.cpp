// Attributes, items and slices, in the order in which Jinja looks: value.name prefers an attribute to an item,
// value[key] an item to an attribute.
#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "chat/methods.h"
#include "chat/value.h"

namespace tern::chat {
namespace {

// As Jinja's messages name a value's type.
std::string described(const Value& value) {
    return value.is(Kind::none) ? "None" : fmt::format("'{} object'", type_name(value));
}

bool own_attribute(Context& context, const Value& value, std::string_view name, Value& out) {
    if (value.is(Kind::object)) return value.object->get(context, name, out);
    if (value.is(Kind::tuple) && value.list->group && (name == "grouper" || name == "list")) {
        out = value.list->items[name == "list" ? 1 : 0];
        return true;
    }
    return find_method(context, value, name, out);
}

std::optional<std::size_t> index_of(std::int64_t index, std::size_t size) {
    if (index < 0) index += static_cast<std::int64_t>(size);
    if (index < 0 || index >= static_cast<std::int64_t>(size)) return std::nullopt;
    return static_cast<std::size_t>(index);
}

bool own_item(Context& context, const Value& value, const Value& key, Value& out) {
    if (value.is(Kind::dict)) {
        if (key.is(Kind::list) || key.is(Kind::dict) || key.is(Kind::undefined)) return false;
        const Value* found = value.dict->find(context, key);
        if (found) out = *found;
        return found != nullptr;
    }
    if (!key.is_integral()) return false;
    if (value.is(Kind::list) || value.is(Kind::tuple)) {
        const auto at = index_of(key.as_integer(), value.list->items.size());
        if (at) out = value.list->items[*at];
        return at.has_value();
    }
    if (value.is(Kind::string)) {
        const auto at = index_of(key.as_integer(), length(context, value));
        if (!at) return false;
        const std::size_t begin = byte_of(value.view(), *at);
        out = context.string(value.text->slice(begin, begin + utf8::decode(value.view(), begin).length));
        return true;
    }
    return false;
}

}  // namespace

Value attribute(Context& context, const Value& value, std::string_view name) {
    require_defined(context, value);
    Value out;
    if (own_attribute(context, value, name, out)) return out;
    if (value.is(Kind::dict))
        if (const Value* found = value.dict->find(name)) return *found;
    return context.undefined(fmt::format("{} has no attribute '{}'", described(value), name));
}

Value item(Context& context, const Value& value, const Value& key) {
    require_defined(context, value);
    Value out;
    if (own_item(context, value, key, out)) return out;
    if (key.is(Kind::string) && own_attribute(context, value, key.view(), out)) return out;
    if (key.is(Kind::string)) return context.undefined(fmt::format("{} has no attribute '{}'", described(value), key.view()));
    return context.undefined(fmt::format("{} has no element {}", described(value), repr(context, key).view()));
}

Value slice(Context& context, const Value& value, const Value& start, const Value& stop, const Value& step) {
    require_defined(context, value);
    if (!value.is(Kind::string) && !value.is(Kind::list) && !value.is(Kind::tuple))
        return context.undefined(fmt::format("{} cannot be sliced", described(value)));
    const auto part = [&](const Value& v, std::int64_t fallback) {
        if (v.is(Kind::none)) return fallback;
        if (!v.is_integral())
            context.fail(fmt::format("slice indices must be integers or none, not {}", type_name(v)));
        return v.as_integer();
    };
    // As Python's slice.indices: everything is clamped to the ends before it is walked.
    const auto size = static_cast<std::int64_t>(length(context, value));
    const std::int64_t stride = part(step, 1);
    if (stride == 0) context.fail("slice step cannot be zero");
    const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
    const auto clamped = [&](std::int64_t at) { return std::clamp(at < 0 ? at + size : at, low, high); };
    const std::int64_t begin = start.is(Kind::none) ? (stride > 0 ? low : high) : clamped(part(start, 0));
    const std::int64_t end = stop.is(Kind::none) ? (stride > 0 ? high : low) : clamped(part(stop, 0));

    if (value.is(Kind::string) && stride == 1) {
        if (begin >= end) return context.string(Text());
        const std::size_t first = byte_of(value.view(), static_cast<std::size_t>(begin));
        const std::size_t bytes = byte_of(value.view().substr(first), static_cast<std::size_t>(end - begin));
        return context.string(value.text->slice(first, first + bytes));
    }
    const std::vector<Value> elements = iterate(context, value);
    std::vector<Value> chosen;
    for (std::int64_t at = begin; stride > 0 ? at < end : at > end;) {
        chosen.push_back(elements[static_cast<std::size_t>(at)]);
        if (__builtin_add_overflow(at, stride, &at)) break;
    }
    if (value.is(Kind::string)) {
        Text out;
        for (const Value& c : chosen) out.append(*c.text);
        return context.string(std::move(out));
    }
    List* out = context.new_list(chosen.size());
    out->items = std::move(chosen);
    return Value::of(out, value.kind);
}

}  // namespace tern::chat
