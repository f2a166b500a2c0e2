// Truth, equality, order, membership, iteration, arithmetic.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "chat/format.h"
#include "chat/value.h"

namespace tern::chat {

void require_defined(Context& context, const Value& value) {
    if (value.is(Kind::undefined)) context.fail(value.why ? *value.why : "a value is undefined");
}

bool truth(const Value& value) noexcept {
    switch (value.kind) {
        case Kind::undefined:
        case Kind::none: return false;
        case Kind::boolean: return value.boolean;
        case Kind::integer: return value.integer != 0;
        case Kind::real: return value.real != 0;
        case Kind::string: return !value.text->empty();
        case Kind::list:
        case Kind::tuple: return !value.list->items.empty();
        case Kind::dict: return !value.dict->items.empty();
        case Kind::generator:
        case Kind::object: return true;
    }
    return true;
}

bool equal(Context& context, const Value& a, const Value& b) {
    const Deeper deeper(context);
    if (a.is_number() && b.is_number()) {
        if (a.is(Kind::real) || b.is(Kind::real)) return a.as_real() == b.as_real();
        return a.as_integer() == b.as_integer();
    }
    if (a.kind != b.kind) return false;
    switch (a.kind) {
        case Kind::undefined:
        case Kind::none: return true;
        case Kind::string:
            context.charge(1 + std::min(a.text->size(), b.text->size()) / 64);
            return a.view() == b.view();
        case Kind::list:
        case Kind::tuple: {
            const auto &x = a.list->items, &y = b.list->items;
            return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                              [&](const Value& p, const Value& q) { return equal(context, p, q); });
        }
        case Kind::dict:
            if (a.dict->items.size() != b.dict->items.size()) return false;
            return std::all_of(a.dict->items.begin(), a.dict->items.end(), [&](const auto& entry) {
                const Value* other = b.dict->find(context, entry.first);
                return other && equal(context, entry.second, *other);
            });
        case Kind::generator: return a.list == b.list;
        default: return a.object == b.object;
    }
}

bool less(Context& context, const Value& a, const Value& b) {
    const Deeper deeper(context);
    require_defined(context, a);
    require_defined(context, b);
    if (a.is_number() && b.is_number()) {
        if (a.is(Kind::real) || b.is(Kind::real)) return a.as_real() < b.as_real();
        return a.as_integer() < b.as_integer();
    }
    // UTF-8 orders as code points do.
    if (a.is(Kind::string) && b.is(Kind::string)) return a.view() < b.view();
    if (a.kind == b.kind && (a.is(Kind::list) || a.is(Kind::tuple))) {
        const auto &x = a.list->items, &y = b.list->items;
        for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
            if (!equal(context, x[i], y[i])) return less(context, x[i], y[i]);
        return x.size() < y.size();
    }
    context.fail(fmt::format("'{}' and '{}' have no order: they cannot be compared with < or sorted", type_name(a),
                             type_name(b)));
}

bool contains(Context& context, const Value& container, const Value& wanted) {
    if (container.is(Kind::string)) {
        if (!wanted.is(Kind::string))
            context.fail(fmt::format("'in <string>' requires a string on its left, not {}", type_name(wanted)));
        context.charge_bytes(container.text->size());
        return container.view().find(wanted.view()) != std::string_view::npos;
    }
    if (container.is(Kind::dict)) return container.dict->find(context, wanted) != nullptr;
    if (!is_iterable(container)) context.fail(fmt::format("argument of type '{}' is not iterable", type_name(container)));
    if (!container.is_sequence()) return false;
    return std::any_of(container.list->items.begin(), container.list->items.end(),
                       [&](const Value& element) { return equal(context, element, wanted); });
}

bool is_iterable(const Value& value) noexcept {
    return value.is(Kind::undefined) || value.is(Kind::string) || value.is(Kind::dict) || value.is_sequence();
}

std::vector<Value> iterate(Context& context, const Value& value) {
    if (!is_iterable(value)) context.fail(fmt::format("'{}' object is not iterable", type_name(value)));
    std::vector<Value> out;
    if (value.is_sequence()) {
        context.charge(kUnitsPerElement * value.list->items.size());
        out = value.list->items;
    } else if (value.is(Kind::dict)) {
        context.charge(kUnitsPerElement * value.dict->items.size());
        for (const auto& entry : value.dict->items) out.push_back(entry.first);
    } else if (value.is(Kind::string)) {
        for (std::size_t at = 0; at < value.text->size();) {
            const std::size_t end = at + utf8::decode(value.view(), at).length;
            context.charge(kUnitsPerElement);
            out.push_back(context.string(value.text->slice(at, end)));
            at = end;
        }
    }
    return out;
}

std::size_t length(Context& context, const Value& value) {
    switch (value.kind) {
        case Kind::undefined: return 0;
        case Kind::string:
            context.charge_bytes(value.text->size());
            return count_code_points(value.view());
        case Kind::list:
        case Kind::tuple: return value.list->items.size();
        case Kind::dict: return value.dict->items.size();
        default: context.fail(fmt::format("object of type '{}' has no len()", type_name(value)));
    }
}

// ---- arithmetic ---------------------------------------------------------------------------------------------------

namespace {

[[noreturn]] void overflow(Context& context) {
    context.fail("an integer does not fit 64 bits", ErrorCode::unsupported);
}

Value repeated(Context& context, const Value& what, std::int64_t times) {
    const std::size_t size = what.is(Kind::string) ? what.text->size() : what.list->items.size();
    const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
    if (size > 0 && count > kMaxStringBytes / size)
        context.fail(fmt::format("a repetition of {} × {} elements, the limit is {}", size, count, kMaxStringBytes));
    if (what.is(Kind::string)) {
        context.charge_bytes(size * count);
        Text out;
        for (std::size_t i = 0; size > 0 && i < count; ++i) out.append(*what.text);
        return context.string(std::move(out));
    }
    List* out = context.new_list(size * count);
    for (std::size_t i = 0; size > 0 && i < count; ++i)
        out->items.insert(out->items.end(), what.list->items.begin(), what.list->items.end());
    return Value::of(out, what.kind);
}

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
    const std::int64_t quotient = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

double floor_modulo(double a, double b) {
    const double rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value integer_power(Context& context, std::int64_t base, std::int64_t exponent) {
    std::int64_t out = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(out, base, &out)) overflow(context);
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) overflow(context);
    }
    return Value::of(out);
}

Value integers(Context& context, Operator op, std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    bool fits = true;
    switch (op) {
        case Operator::add: fits = !__builtin_add_overflow(a, b, &out); break;
        case Operator::subtract: fits = !__builtin_sub_overflow(a, b, &out); break;
        case Operator::multiply: fits = !__builtin_mul_overflow(a, b, &out); break;
        case Operator::power:
            if (b < 0) return Value::of(std::pow(static_cast<double>(a), static_cast<double>(b)));
            return integer_power(context, a, b);
        case Operator::divide:
            if (b == 0) context.fail("division by zero");
            return Value::of(static_cast<double>(a) / static_cast<double>(b));
        default:
            if (b == 0) context.fail("integer division or modulo by zero");
            if (b == -1) {  // the one quotient that can overflow
                fits = op == Operator::modulo || !__builtin_sub_overflow(std::int64_t{0}, a, &out);
            } else {
                const std::int64_t quotient = floor_divide(a, b);
                out = op == Operator::modulo ? a - quotient * b : quotient;
            }
    }
    if (!fits) overflow(context);
    return Value::of(out);
}

Value reals(Context& context, Operator op, double a, double b) {
    switch (op) {
        case Operator::add: return Value::of(a + b);
        case Operator::subtract: return Value::of(a - b);
        case Operator::multiply: return Value::of(a * b);
        case Operator::power: return Value::of(std::pow(a, b));
        default: break;
    }
    if (b == 0) context.fail("float division by zero");
    if (op == Operator::divide) return Value::of(a / b);
    if (op == Operator::modulo) return Value::of(floor_modulo(a, b));
    return Value::of(std::floor(a / b));
}

const char* symbol(Operator op) {
    switch (op) {
        case Operator::add: return "+";
        case Operator::subtract: return "-";
        case Operator::multiply: return "*";
        case Operator::divide: return "/";
        case Operator::floor_divide: return "//";
        case Operator::modulo: return "%";
        case Operator::power: return "**";
    }
    return "?";
}

}  // namespace

Value arithmetic(Context& context, Operator op, const Value& a, const Value& b) {
    require_defined(context, a);
    if (op == Operator::modulo && a.is(Kind::string)) return context.string(format_percent(context, *a.text, b));
    require_defined(context, b);
    if (a.is_integral() && b.is_integral()) return integers(context, op, a.as_integer(), b.as_integer());
    if (a.is_number() && b.is_number()) return reals(context, op, a.as_real(), b.as_real());
    if (op == Operator::add && a.kind == b.kind) {
        if (a.is(Kind::string)) {
            context.charge_bytes(a.text->size() + b.text->size());
            Text out = *a.text;
            out.append(*b.text);
            return context.string(std::move(out));
        }
        if (a.is(Kind::list) || a.is(Kind::tuple)) {
            List* out = context.new_list(a.list->items.size() + b.list->items.size());
            out->items = a.list->items;
            out->items.insert(out->items.end(), b.list->items.begin(), b.list->items.end());
            return Value::of(out, a.kind);
        }
    }
    const auto repeatable = [](const Value& v) { return v.is(Kind::string) || v.is(Kind::list) || v.is(Kind::tuple); };
    if (op == Operator::multiply && repeatable(a) && b.is_integral()) return repeated(context, a, b.as_integer());
    if (op == Operator::multiply && repeatable(b) && a.is_integral()) return repeated(context, b, a.as_integer());
    if (op == Operator::add && a.is(Kind::string))
        context.fail(fmt::format("can only concatenate str (not \"{}\") to str; ~ would convert it", type_name(b)));
    context.fail(fmt::format("unsupported operand types for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

Value negative(Context& context, const Value& value) {
    require_defined(context, value);
    if (value.is(Kind::real)) return Value::of(-value.real);
    if (!value.is_integral()) context.fail(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
    return integers(context, Operator::subtract, 0, value.as_integer());
}

}  // namespace tern::chat
