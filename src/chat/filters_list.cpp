// Filters over lists, and over dicts and strings as lists.
#include <algorithm>

#include <fmt/format.h>

#include "chat/args.h"
#include "chat/filters.h"
#include "chat/strings.h"

namespace tern::chat {
namespace {

Value made(Context& context, std::vector<Value> items, Kind kind) {
    List* out = context.new_list(items.size());
    out->items = std::move(items);
    return Value::of(out, kind);
}

Value pair(Context& context, const Value& a, const Value& b) { return made(context, {a, b}, Kind::tuple); }

// What sorting and grouping compare: small letters, unless case matters.
Value folded(Context& context, const Value& value, bool case_sensitive) {
    return value.is(Kind::string) && !case_sensitive ? context.string(lower(*value.text)) : value;
}

Value count(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "length", args, {});
    return Value::of(static_cast<std::int64_t>(length(context, subject)));
}

Value first(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "first", args, {});
    const std::vector<Value> items = iterate(context, subject);
    return items.empty() ? context.undefined("No first item, sequence was empty.") : items.front();
}

Value last(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "last", args, {});
    if (subject.is(Kind::generator)) context.fail("last: 'generator' object is not reversible; make it a list first");
    const std::vector<Value> items = iterate(context, subject);
    return items.empty() ? context.undefined("No last item, sequence was empty.") : items.back();
}

Value list(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "list", args, {});
    return made(context, iterate(context, subject), Kind::list);
}

Value items(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "items", args, {});
    if (subject.is(Kind::undefined)) return made(context, {}, Kind::generator);
    if (!subject.is(Kind::dict)) context.fail(fmt::format("items: can only get item pairs from a mapping, not {}", type_name(subject)));
    std::vector<Value> out;
    for (const auto& [key, value] : subject.dict->items) out.push_back(pair(context, key, value));
    return made(context, std::move(out), Kind::generator);
}

Value join(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "join", args, {"d", "attribute"});
    const Text separator = bound.has(0) ? to_text(context, bound.get(0, {})) : Text();
    Text out;
    bool begins = true;
    for (Value part : iterate(context, subject)) {
        if (bound.has(1) && !bound.get(1, {}).is(Kind::none)) part = value_at(context, part, bound.get(1, {}));
        context.charge_bytes(separator.size());
        if (!begins) out.append(separator);
        begins = false;
        out.append(to_text(context, part));
        if (out.size() > kMaxStringBytes) context.charge_bytes(out.size());
    }
    return context.string(std::move(out));
}

Value reverse(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "reverse", args, {});
    std::vector<Value> parts = iterate(context, subject);
    std::reverse(parts.begin(), parts.end());
    if (!subject.is(Kind::string)) return made(context, std::move(parts), Kind::generator);
    Text out;
    for (const Value& c : parts) out.append(*c.text);
    return context.string(std::move(out));
}

using Keyed = std::pair<Value, Value>;  // what is compared, and the element

std::vector<Keyed> keyed(Context& context, const Value& subject, const Value& path, bool case_sensitive) {
    std::vector<Keyed> out;
    for (const Value& element : iterate(context, subject)) {
        Value key = element;
        if (path.is(Kind::string) && path.view().find(',') != std::string_view::npos) {
            // Several paths: a list of their values.
            List* keys = context.new_list();
            for (const Text& one : split(context, *path.text, Text(","), -1))
                context.push(*keys, folded(context, value_at(context, element, context.string(one)), case_sensitive));
            key = Value::of(keys);
        } else if (!path.is(Kind::none)) {
            key = value_at(context, element, path);
        }
        out.emplace_back(folded(context, key, case_sensitive), element);
    }
    return out;
}

std::vector<Value> elements(const std::vector<Keyed>& pairs) {
    std::vector<Value> out;
    for (const Keyed& p : pairs) out.push_back(p.second);
    return out;
}

void sort_keyed(Context& context, std::vector<Keyed>& pairs, bool reversed) {
    std::stable_sort(pairs.begin(), pairs.end(), [&](const Keyed& a, const Keyed& b) {
        return reversed ? less(context, b.first, a.first) : less(context, a.first, b.first);
    });
}

Value sort(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "sort", args, {"reverse", "case_sensitive", "attribute"});
    std::vector<Keyed> pairs = keyed(context, subject, bound.get(2, Value::none()), bound.flag(1, false));
    sort_keyed(context, pairs, bound.flag(0, false));
    return made(context, elements(pairs), Kind::list);
}

Value dictsort(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "dictsort", args, {"case_sensitive", "by", "reverse"});
    if (!subject.is(Kind::dict)) context.fail(fmt::format("dictsort needs a dict, not {}", type_name(subject)));
    const Text by = bound.text(1, "key");
    if (by.view() != "key" && by.view() != "value") context.fail("dictsort: 'by' must be 'key' or 'value'");
    std::vector<Keyed> pairs;
    for (const auto& [key, value] : subject.dict->items)
        pairs.emplace_back(folded(context, by.view() == "key" ? key : value, bound.flag(0, false)), pair(context, key, value));
    sort_keyed(context, pairs, bound.flag(2, false));
    return made(context, elements(pairs), Kind::list);
}

Value unique(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "unique", args, {"case_sensitive", "attribute"});
    Dict* seen = context.new_dict();
    std::vector<Value> out;
    for (const auto& [key, element] : keyed(context, subject, bound.get(1, Value::none()), bound.flag(0, false))) {
        if (seen->find(context, key)) continue;
        seen->set(context, key, Value::none());
        out.push_back(element);
    }
    return made(context, std::move(out), Kind::generator);
}

template <bool greatest>
Value extreme(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, greatest ? "max" : "min", args, {"case_sensitive", "attribute"});
    const std::vector<Keyed> pairs = keyed(context, subject, bound.get(1, Value::none()), bound.flag(0, false));
    if (pairs.empty()) return context.undefined("No aggregated item, sequence was empty.");
    const Keyed* best = &pairs[0];
    for (const Keyed& p : pairs)
        if (greatest ? less(context, best->first, p.first) : less(context, p.first, best->first)) best = &p;
    return best->second;
}

Value sum(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "sum", args, {"attribute", "start"});
    const Value path = bound.get(0, Value::none());
    Value out = bound.get(1, Value::of(std::int64_t{0}));
    for (const Value& element : iterate(context, subject))
        out = arithmetic(context, Operator::add, out, path.is(Kind::none) ? element : value_at(context, element, path));
    return out;
}

Value groupby(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "groupby", args, {"attribute", "default", "case_sensitive"});
    const bool case_sensitive = bound.flag(2, false);
    std::vector<Keyed> pairs;
    for (const Value& element : iterate(context, subject)) {
        Value key = value_at(context, element, bound.need(0));
        if (key.is(Kind::undefined) && bound.has(1)) key = bound.get(1, {});
        pairs.emplace_back(key, element);
    }
    const auto compared = [&](const Value& key) { return folded(context, key, case_sensitive); };
    std::stable_sort(pairs.begin(), pairs.end(), [&](const Keyed& a, const Keyed& b) {
        return less(context, compared(a.first), compared(b.first));
    });
    std::vector<Value> out;
    for (std::size_t at = 0; at < pairs.size();) {
        List* members = context.new_list();
        const Value key = pairs[at].first;
        for (; at < pairs.size() && equal(context, compared(pairs[at].first), compared(key)); ++at)
            context.push(*members, pairs[at].second);
        // A key that is not equal to itself (NaN) has a group of its own.
        if (members->items.empty()) context.push(*members, pairs[at++].second);
        const Value group = pair(context, key, Value::of(members));
        group.list->group = true;
        out.push_back(group);
    }
    return made(context, std::move(out), Kind::list);
}

Value batch(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "batch", args, {"linecount", "fill_with"});
    bound.need(0);
    const std::int64_t size = bound.integer(0, 1);
    if (size < 1) context.fail("batch: the size must be at least 1");
    std::vector<Value> out;
    List* row = nullptr;
    for (const Value& element : iterate(context, subject)) {
        if (!row || static_cast<std::int64_t>(row->items.size()) == size) {
            row = context.new_list();
            out.push_back(Value::of(row));
        }
        context.push(*row, element);
    }
    if (row && bound.has(1) && !bound.get(1, {}).is(Kind::none))
        while (static_cast<std::int64_t>(row->items.size()) < size) context.push(*row, bound.get(1, {}));
    return made(context, std::move(out), Kind::generator);
}

Value columns(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "slice", args, {"slices", "fill_with"});
    bound.need(0);
    const std::int64_t slices = bound.integer(0, 1);
    if (slices < 1 || slices > kMaxRange) context.fail(fmt::format("slice: the number must be from 1 to {}", kMaxRange));
    const std::vector<Value> all = iterate(context, subject);
    const std::size_t n = static_cast<std::size_t>(slices), each = all.size() / n, more = all.size() % n;
    std::vector<Value> out;
    std::size_t at = 0;
    for (std::size_t i = 0; i < n; ++i) {
        List* part = context.new_list();
        for (std::size_t k = 0; k < each + (i < more ? 1 : 0); ++k) context.push(*part, all[at++]);
        if (bound.has(1) && !bound.get(1, {}).is(Kind::none) && i >= more) context.push(*part, bound.get(1, {}));
        out.push_back(Value::of(part));
    }
    return made(context, std::move(out), Kind::generator);
}

Value map(Context& context, const Value& subject, const Args& args) {
    std::vector<Value> out;
    if (args.positional.empty()) {
        const Bound bound(context, "map", args, {"attribute", "default"});
        for (const Value& element : iterate(context, subject)) {
            const Value value = value_at(context, element, bound.need(0));
            out.push_back(value.is(Kind::undefined) && bound.has(1) ? bound.get(1, {}) : value);
        }
        return made(context, std::move(out), Kind::generator);
    }
    if (!args.positional[0].is(Kind::string)) context.fail("map needs the name of a filter");
    Args rest;
    rest.positional.assign(args.positional.begin() + 1, args.positional.end());
    rest.named = args.named;
    for (const Value& element : iterate(context, subject))
        out.push_back(apply_filter(context, args.positional[0].view(), element, rest));
    return made(context, std::move(out), Kind::generator);
}

// select, reject, selectattr, rejectattr: by a test, or by truth where none is named.
template <bool wanted, bool by_attribute>
Value select(Context& context, const Value& subject, const Args& args) {
    const std::size_t skip = by_attribute ? 1 : 0;
    if (args.positional.size() < skip) context.fail("selectattr and rejectattr need the name of an attribute");
    std::string_view test;
    Args rest;
    rest.named = args.named;
    if (args.positional.size() > skip) {
        if (!args.positional[skip].is(Kind::string)) context.fail("select and reject need the name of a test");
        test = args.positional[skip].view();
        rest.positional.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(skip) + 1, args.positional.end());
    }
    std::vector<Value> out;
    for (const Value& element : iterate(context, subject)) {
        const Value value = by_attribute ? value_at(context, element, args.positional[0]) : element;
        const bool holds = test.data() ? apply_test(context, test, value, rest) : truth(value);
        if (holds == wanted) out.push_back(element);
    }
    return made(context, std::move(out), Kind::generator);
}

Value word_count(Context& context, const Value& subject, const Args& args) {
    const Bound bound(context, "wordcount", args, {});
    const Text text = to_text(context, subject);
    std::int64_t words = 0;
    bool inside = false;
    for (std::size_t at = 0; at < text.size();) {
        const utf8::CodePoint c = utf8::decode(text.view(), at);
        const bool letter = c.value >= 0x80 ? !is_space(c.value) : std::isalnum(static_cast<int>(c.value)) != 0 || c.value == '_';
        if (letter && !inside) ++words;
        inside = letter;
        at += c.length;
    }
    return Value::of(words);
}

}  // namespace

Filter find_list_filter(std::string_view name) noexcept {
    static const std::unordered_map<std::string_view, Filter> table = {
        {"length", count},
        {"count", count},
        {"first", first},
        {"last", last},
        {"list", list},
        {"items", items},
        {"join", join},
        {"reverse", reverse},
        {"sort", sort},
        {"dictsort", dictsort},
        {"unique", unique},
        {"min", extreme<false>},
        {"max", extreme<true>},
        {"sum", sum},
        {"groupby", groupby},
        {"batch", batch},
        {"slice", columns},
        {"map", map},
        {"select", select<true, false>},
        {"reject", select<false, false>},
        {"selectattr", select<true, true>},
        {"rejectattr", select<false, true>},
        {"wordcount", word_count},
    };
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

}  // namespace tern::chat
