// What may stand behind `is`.
#include <fmt/format.h>

#include "chat/args.h"
#include "chat/filters.h"
#include "chat/methods.h"
#include "chat/strings.h"

namespace tern::chat {
namespace {

using Test = bool (*)(Context& context, const Value& value);
using Relation = bool (*)(Context& context, const Value& value, const Value& other);

template <bool odd>
bool parity(Context& context, const Value& value) {
    const Value rest = arithmetic(context, Operator::modulo, value, Value::of(std::int64_t{2}));
    return rest.is_number() && rest.as_real() == (odd ? 1 : 0);
}

template <bool (*find)(std::string_view)>
bool known(Context& context, const Value& value) {
    if (!value.is(Kind::string)) context.fail("this test needs the name of a filter or a test");
    return find(value.view());
}

template <bool upper_case>
bool all_cased(Context& context, const Value& value) {
    const Value text = context.string(to_text(context, value));
    const Args none;
    return truth(find_string_method(upper_case ? "isupper" : "islower")(context, text, none));
}

bool is_filter(std::string_view name) {
    return find_choice_filter(name) || find_text_filter(name) || find_list_filter(name);
}
bool is_test(std::string_view name);

bool is_callable(Context&, const Value& v) { return v.is(Kind::object) ? v.object->callable() : v.is(Kind::undefined); }
bool is_sequence(Context&, const Value& v) {
    return v.is(Kind::undefined) || v.is(Kind::string) || v.is(Kind::list) || v.is(Kind::tuple) || v.is(Kind::dict);
}
bool is_same(Context&, const Value& a, const Value& b) {
    if (a.kind != b.kind) return false;
    switch (a.kind) {
        case Kind::undefined:
        case Kind::none: return true;
        case Kind::boolean: return a.boolean == b.boolean;
        case Kind::integer: return a.integer == b.integer;
        case Kind::real: return a.real == b.real;
        case Kind::string: return a.text == b.text || a.view() == b.view();
        default: return a.object == b.object;
    }
}

Test find_test(std::string_view name) {
    static const std::unordered_map<std::string_view, Test> table = {
        {"defined", [](Context&, const Value& v) { return !v.is(Kind::undefined); }},
        {"undefined", [](Context&, const Value& v) { return v.is(Kind::undefined); }},
        {"none", [](Context&, const Value& v) { return v.is(Kind::none); }},
        {"boolean", [](Context&, const Value& v) { return v.is(Kind::boolean); }},
        {"true", [](Context&, const Value& v) { return v.is(Kind::boolean) && v.boolean; }},
        {"false", [](Context&, const Value& v) { return v.is(Kind::boolean) && !v.boolean; }},
        {"integer", [](Context&, const Value& v) { return v.is(Kind::integer); }},
        {"float", [](Context&, const Value& v) { return v.is(Kind::real); }},
        {"number", [](Context&, const Value& v) { return v.is_number(); }},
        {"string", [](Context&, const Value& v) { return v.is(Kind::string); }},
        {"mapping", [](Context&, const Value& v) { return v.is(Kind::dict); }},
        {"iterable", [](Context&, const Value& v) { return is_iterable(v); }},
        {"sequence", is_sequence},
        {"callable", is_callable},
        {"escaped", [](Context&, const Value&) { return false; }},
        {"even", parity<false>},
        {"odd", parity<true>},
        {"lower", all_cased<false>},
        {"upper", all_cased<true>},
        {"filter", known<is_filter>},
        {"test", known<is_test>},
    };
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

Relation find_relation(std::string_view name) {
    static constexpr Relation eq = [](Context& c, const Value& a, const Value& b) { return equal(c, a, b); };
    static constexpr Relation ne = [](Context& c, const Value& a, const Value& b) { return !equal(c, a, b); };
    static constexpr Relation lt = [](Context& c, const Value& a, const Value& b) { return less(c, a, b); };
    static constexpr Relation gt = [](Context& c, const Value& a, const Value& b) { return less(c, b, a); };
    static constexpr Relation le = [](Context& c, const Value& a, const Value& b) { return less(c, a, b) || equal(c, a, b); };
    static constexpr Relation ge = [](Context& c, const Value& a, const Value& b) { return less(c, b, a) || equal(c, a, b); };
    static constexpr Relation in = [](Context& c, const Value& a, const Value& b) { return contains(c, b, a); };
    static constexpr Relation divides = [](Context& c, const Value& a, const Value& b) {
        return !truth(arithmetic(c, Operator::modulo, a, b));
    };
    static const std::unordered_map<std::string_view, Relation> table = {
        {"eq", eq}, {"equalto", eq}, {"==", eq}, {"ne", ne}, {"!=", ne},          {"lt", lt},
        {"lessthan", lt}, {"<", lt}, {"gt", gt}, {"greaterthan", gt}, {">", gt},  {"le", le},
        {"<=", le}, {"ge", ge}, {">=", ge}, {"in", in}, {"divisibleby", divides}, {"sameas", is_same}};
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second;
}

bool is_test(std::string_view name) { return find_test(name) || find_relation(name); }

}  // namespace

bool apply_test(Context& context, std::string_view name, const Value& subject, const Args& args) {
    if (const Test test = find_test(name)) {
        const Bound bound(context, name, args, {});
        return test(context, subject);
    }
    if (const Relation relation = find_relation(name)) {
        const Bound bound(context, name, args, {"other"});
        return relation(context, subject, bound.need(0));
    }
    context.fail(fmt::format("no test named '{}'", name), ErrorCode::unsupported);
}

}  // namespace tern::chat
