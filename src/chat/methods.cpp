// Methods of lists and dicts, and how methods are bound.
#include "chat/methods.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

namespace tern::chat {
namespace {

class BoundMethod : public Object {
public:
    BoundMethod(const Value& self, Method method) : self_(self), method_(method) {}
    const char* type_name() const noexcept override { return "method"; }
    bool callable() const noexcept override { return true; }
    Value call(Context& context, const Args& args) override { return method_(context, self_, args); }

private:
    Value self_;
    Method method_;
};

// ---- lists --------------------------------------------------------------------------------------------------------

Value list_append(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "append", args, {"object"});
    context.push(*self.list, bound.need(0));
    return Value::none();
}

Value list_extend(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "extend", args, {"iterable"});
    for (const Value& element : iterate(context, bound.need(0))) context.push(*self.list, element);
    return Value::none();
}

Value list_insert(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "insert", args, {"index", "object"});
    auto& items = self.list->items;
    const auto size = static_cast<std::int64_t>(items.size());
    const Value& value = bound.need(1);
    std::int64_t at = bound.integer(0, size);
    at = std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size);
    context.charge(kUnitsPerElement + items.size() / 8);
    items.insert(items.begin() + at, value);
    return Value::none();
}

Value list_pop(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "pop", args, {"index"});
    auto& items = self.list->items;
    const auto size = static_cast<std::int64_t>(items.size());
    std::int64_t at = bound.integer(0, -1);
    if (at < 0) at += size;
    if (at < 0 || at >= size) context.fail(items.empty() ? "pop from an empty list" : "pop index out of range");
    context.charge(1 + items.size() / 8);
    const Value out = items[static_cast<std::size_t>(at)];
    items.erase(items.begin() + at);
    return out;
}

std::size_t position_of(Context& context, const Value& self, const Value& wanted) {
    const auto& items = self.list->items;
    return static_cast<std::size_t>(
        std::find_if(items.begin(), items.end(), [&](const Value& v) { return equal(context, v, wanted); }) -
        items.begin());
}

Value list_index(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "index", args, {"value"});
    const std::size_t at = position_of(context, self, bound.need(0));
    if (at == self.list->items.size()) context.fail("index(): the value is not in the list");
    return Value::of(static_cast<std::int64_t>(at));
}

Value list_remove(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "remove", args, {"value"});
    const std::size_t at = position_of(context, self, bound.need(0));
    if (at == self.list->items.size()) context.fail("remove(): the value is not in the list");
    self.list->items.erase(self.list->items.begin() + static_cast<std::ptrdiff_t>(at));
    return Value::none();
}

Value list_count(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "count", args, {"value"});
    const Value& wanted = bound.need(0);
    return Value::of(static_cast<std::int64_t>(std::count_if(
        self.list->items.begin(), self.list->items.end(), [&](const Value& v) { return equal(context, v, wanted); })));
}

Value list_reverse(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "reverse", args, {});
    context.charge(self.list->items.size());
    std::reverse(self.list->items.begin(), self.list->items.end());
    return Value::none();
}

Value list_clear(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "clear", args, {});
    self.list->items.clear();
    return Value::none();
}

Value list_copy(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "copy", args, {});
    List* out = context.new_list(self.list->items.size());
    out->items = self.list->items;
    return Value::of(out);
}

// ---- dicts --------------------------------------------------------------------------------------------------------

Value dict_get(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "get", args, {"key", "default"});
    const Value* found = self.dict->find(context, bound.need(0));
    return found ? *found : bound.get(1, Value::none());
}

Value dict_keys(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "keys", args, {});
    List* out = context.new_list(self.dict->items.size());
    for (const auto& entry : self.dict->items) out->items.push_back(entry.first);
    return Value::of(out);
}

Value dict_values(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "values", args, {});
    List* out = context.new_list(self.dict->items.size());
    for (const auto& entry : self.dict->items) out->items.push_back(entry.second);
    return Value::of(out);
}

Value dict_items(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "items", args, {});
    List* out = context.new_list(self.dict->items.size());
    for (const auto& [key, value] : self.dict->items) {
        List* pair = context.new_list(2);
        pair->items = {key, value};
        out->items.push_back(Value::of(pair, Kind::tuple));
    }
    return Value::of(out);
}

Value dict_pop(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "pop", args, {"key", "default"});
    const Value* found = self.dict->find(context, bound.need(0));
    if (!found) {
        if (bound.has(1)) return bound.get(1, {});
        context.fail(fmt::format("pop(): the dict has no key {}", repr(context, bound.need(0)).view()));
    }
    const Value out = *found;
    self.dict->erase(context, bound.need(0));
    return out;
}

Value dict_setdefault(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "setdefault", args, {"key", "default"});
    if (const Value* found = self.dict->find(context, bound.need(0))) return *found;
    const Value value = bound.get(1, Value::none());
    self.dict->set(context, bound.need(0), value);
    return value;
}

Value dict_update(Context& context, const Value& self, const Args& args) {
    if (args.positional.size() > 1) context.fail("update() takes at most one argument besides names");
    if (!args.positional.empty()) {
        const Value& other = args.positional[0];
        if (!other.is(Kind::dict)) context.fail(fmt::format("update() needs a dict, not {}", type_name(other)));
        const auto items = other.dict->items;
        for (const auto& [key, value] : items) self.dict->set(context, key, value);
    }
    for (const auto& [name, value] : args.named) self.dict->set(context, context.string(name), value);
    return Value::none();
}

Value dict_copy(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "copy", args, {});
    Dict* out = context.new_dict();
    for (const auto& [key, value] : self.dict->items) out->set(context, key, value);
    return Value::of(out);
}

Value dict_clear(Context& context, const Value& self, const Args& args) {
    const Bound bound(context, "clear", args, {});
    *self.dict = {};
    return Value::none();
}

using Table = std::unordered_map<std::string_view, Method>;

Method find_in(const Table& table, std::string_view name) noexcept {
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

}  // namespace

Method find_list_method(std::string_view name) noexcept {
    static const Table table = {{"append", list_append}, {"extend", list_extend}, {"insert", list_insert},
                                {"pop", list_pop},       {"index", list_index},   {"remove", list_remove},
                                {"count", list_count},   {"reverse", list_reverse}, {"clear", list_clear},
                                {"copy", list_copy}};
    return find_in(table, name);
}

Method find_dict_method(std::string_view name) noexcept {
    static const Table table = {{"get", dict_get},       {"keys", dict_keys},     {"values", dict_values},
                                {"items", dict_items},   {"pop", dict_pop},       {"setdefault", dict_setdefault},
                                {"update", dict_update}, {"copy", dict_copy},     {"clear", dict_clear}};
    return find_in(table, name);
}

bool find_method(Context& context, const Value& self, std::string_view name, Value& out) {
    Method method = nullptr;
    if (self.is(Kind::string)) method = find_string_method(name);
    if (self.is(Kind::dict)) method = find_dict_method(name);
    if (self.is(Kind::list)) method = find_list_method(name);
    if (self.is(Kind::tuple) && (name == "index" || name == "count")) method = find_list_method(name);
    if (!method) return false;
    out = Value::of(context.make<BoundMethod>(self, method));
    return true;
}

}  // namespace tern::chat
