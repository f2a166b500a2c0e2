// Values, dictionaries, and the account of what a render costs.
#include "chat/value.h"

#include <cmath>
#include <cstring>

#include <fmt/format.h>

namespace tern::chat {

Value Value::none() noexcept {
    Value v;
    v.kind = Kind::none;
    return v;
}
Value Value::of(bool b) noexcept {
    Value v;
    v.kind = Kind::boolean;
    v.boolean = b;
    return v;
}
Value Value::of(std::int64_t i) noexcept {
    Value v;
    v.kind = Kind::integer;
    v.integer = i;
    return v;
}
Value Value::of(double d) noexcept {
    Value v;
    v.kind = Kind::real;
    v.real = d;
    return v;
}
Value Value::of(const Text* t) noexcept {
    Value v;
    v.kind = Kind::string;
    v.text = t;
    return v;
}
Value Value::of(List* l, Kind k) noexcept {
    Value v;
    v.kind = k;
    v.list = l;
    return v;
}
Value Value::of(Dict* d) noexcept {
    Value v;
    v.kind = Kind::dict;
    v.dict = d;
    return v;
}
Value Value::of(Object* o) noexcept {
    Value v;
    v.kind = Kind::object;
    v.object = o;
    return v;
}

const char* type_name(const Value& value) noexcept {
    switch (value.kind) {
        case Kind::undefined: return "Undefined";
        case Kind::none: return "NoneType";
        case Kind::boolean: return "bool";
        case Kind::integer: return "int";
        case Kind::real: return "float";
        case Kind::string: return "str";
        case Kind::list: return "list";
        case Kind::tuple: return "tuple";
        case Kind::generator: return "generator";
        case Kind::dict: return "dict";
        case Kind::object: return value.object->type_name();
    }
    return "object";
}

// ---- Dict ---------------------------------------------------------------------------------------------------------

namespace {

// Equal for keys that are equal, as 1, 1.0 and true are.
void append_key(Context& context, const Value& key, std::string& out) {
    const Deeper deeper(context);
    const auto put = [&](char tag, std::string_view bytes) { out += fmt::format("{}{}:{}", tag, bytes.size(), bytes); };
    switch (key.kind) {
        case Kind::none: out += 'n'; return;
        case Kind::boolean:
        case Kind::integer: put('i', std::to_string(key.as_integer())); return;
        case Kind::real:
            if (std::abs(key.real) < 9e15 && std::floor(key.real) == key.real)
                put('i', std::to_string(static_cast<std::int64_t>(key.real)));
            else
                put('f', real_text(key.real));
            return;
        case Kind::tuple:
            out += '(';
            for (const Value& part : key.list->items) append_key(context, part, out);
            out += ')';
            return;
        case Kind::object: put('o', fmt::format("{}", static_cast<const void*>(key.object))); return;
        case Kind::string:
            context.charge_bytes(key.text->size());
            put('s', key.view());
            return;
        default: context.fail(fmt::format("unhashable type: '{}' cannot be a key of a dict", type_name(key)));
    }
}

std::string key_of(Context& context, const Value& key) {
    std::string out;
    append_key(context, key, out);
    return out;
}

}  // namespace

const Value* Dict::find(Context& context, const Value& key) const {
    const auto found = index_.find(key_of(context, key));
    return found == index_.end() ? nullptr : &items[found->second].second;
}

const Value* Dict::find(std::string_view key) const {
    const auto found = index_.find(fmt::format("s{}:{}", key.size(), key));
    return found == index_.end() ? nullptr : &items[found->second].second;
}

void Dict::set(Context& context, const Value& key, const Value& value) {
    const auto [at, added] = index_.emplace(key_of(context, key), items.size());
    context.charge(4 * kUnitsPerElement);
    if (added)
        items.emplace_back(key, value);
    else
        items[at->second].second = value;
}

bool Dict::erase(Context& context, const Value& key) {
    const auto found = index_.find(key_of(context, key));
    if (found == index_.end()) return false;
    context.charge(items.size());
    const std::size_t at = found->second;
    index_.erase(found);
    items.erase(items.begin() + static_cast<std::ptrdiff_t>(at));
    for (auto& [name, position] : index_)
        if (position > at) --position;
    return true;
}

// ---- objects ------------------------------------------------------------------------------------------------------

Value Object::call(Context& context, const Args&) { context.fail(fmt::format("'{}' object is not callable", type_name())); }

bool Object::get(Context&, std::string_view, Value&) { return false; }

bool Namespace::get(Context&, std::string_view name, Value& out) {
    const Value* found = values.find(name);
    if (found) out = *found;
    return found != nullptr;
}

Value call(Context& context, const Value& callee, const Args& args) {
    require_defined(context, callee);
    if (!callee.is(Kind::object)) context.fail(fmt::format("'{}' object is not callable", type_name(callee)));
    const Deeper deeper(context);
    return callee.object->call(context, args);
}

// ---- Context ------------------------------------------------------------------------------------------------------

void Context::fail(const std::string& message, ErrorCode code) const {
    throw Error(code, one_line(fmt::format("chat template, line {}: {}", line, message)));
}

void Context::out_of_work() const {
    fail(fmt::format("rendering takes more than the {} steps that a template may; it loops too long, or the messages are "
                     "too large for it",
                     kMaxWork));
}

void Context::too_long(std::size_t bytes) const {
    fail(fmt::format("a string of {} bytes, the limit is {}; give less text", bytes, kMaxStringBytes));
}

void Context::too_deep() const {
    fail(fmt::format("more than {} levels of nested blocks, calls or values; does a macro call itself without end?",
                     kMaxDepth));
}

Value Context::string(Text text) {
    charge_bytes(text.size());
    charge(kUnitsPerElement);
    texts_.push_back(std::move(text));
    return Value::of(&texts_.back());
}

Value Context::undefined(std::string why) {
    charge_bytes(why.size());
    charge(kUnitsPerElement);
    reasons_.push_back(std::move(why));
    Value v;
    v.why = &reasons_.back();
    return v;
}

List* Context::new_list(std::size_t elements) {
    charge(kUnitsPerElement * (1 + elements));
    lists_.emplace_back();
    return &lists_.back();
}

Dict* Context::new_dict() {
    charge(8 * kUnitsPerElement);
    dicts_.emplace_back();
    return &dicts_.back();
}

}  // namespace tern::chat
