// Expressions.
#include <fmt/format.h>

#include "chat/filters.h"
#include "chat/interpreter.h"

namespace tern::chat {

Value Interpreter::evaluate(const Expr& expr) {
    const Deeper deeper(context_);
    switch (expr.kind) {
        case Expr::Kind::constant: return expr.value;
        case Expr::Kind::name: return get(expr.id);
        case Expr::Kind::logical_not: return Value::of(!truth(evaluate(*expr.parts[0])));
        case Expr::Kind::logical_and: {
            const Value left = evaluate(*expr.parts[0]);
            return truth(left) ? evaluate(*expr.parts[1]) : left;
        }
        case Expr::Kind::logical_or: {
            const Value left = evaluate(*expr.parts[0]);
            return truth(left) ? left : evaluate(*expr.parts[1]);
        }
        case Expr::Kind::condition:
            if (truth(evaluate(*expr.parts[1]))) return evaluate(*expr.parts[0]);
            if (expr.parts.size() > 2) return evaluate(*expr.parts[2]);
            return context_.undefined("the inline if on this line has no else, and its condition is false");
        case Expr::Kind::compare: return evaluate_compare(expr);
        case Expr::Kind::filter: return evaluate_filter(expr, nullptr);
        default: return evaluate_parts(expr);
    }
}

// The kinds whose parts are all evaluated first.
Value Interpreter::evaluate_parts(const Expr& expr) {
    const auto part = [&](std::size_t i) { return expr.parts[i] ? evaluate(*expr.parts[i]) : Value::none(); };
    const auto at_line = [&]() -> Context& {
        context_.line = expr.line;
        return context_;
    };
    switch (expr.kind) {
        case Expr::Kind::list:
        case Expr::Kind::tuple: {
            List* list = context_.new_list();
            for (std::size_t i = 0; i < expr.parts.size(); ++i) {
                const Value value = part(i);
                context_.push(*list, value);
            }
            return Value::of(list, expr.kind == Expr::Kind::list ? Kind::list : Kind::tuple);
        }
        case Expr::Kind::dict: {
            Dict* dict = context_.new_dict();
            for (std::size_t i = 0; i < expr.parts.size(); i += 2) {
                const Value key = part(i);
                const Value value = part(i + 1);
                dict->set(at_line(), key, value);
            }
            return Value::of(dict);
        }
        case Expr::Kind::attribute: {
            const Value subject = part(0);
            return attribute(at_line(), subject, expr.text);
        }
        case Expr::Kind::item: {
            const Value subject = part(0);
            const Value key = part(1);
            return item(at_line(), subject, key);
        }
        case Expr::Kind::slice: {
            const Value subject = part(0), start = part(1), stop = part(2), step = part(3);
            return slice(at_line(), subject, start, stop, step);
        }
        case Expr::Kind::call: {
            const Value callee = part(0);
            const Args args = evaluate_arguments(expr.arguments);
            return call(at_line(), callee, args);
        }
        case Expr::Kind::test: {
            const Value subject = part(0);
            const Args args = evaluate_arguments(expr.arguments);
            return Value::of(apply_test(at_line(), expr.text, subject, args));
        }
        case Expr::Kind::negate: {
            const Value value = part(0);
            return negative(at_line(), value);
        }
        case Expr::Kind::plus: {
            const Value value = part(0);
            return negative(at_line(), negative(context_, value));
        }
        case Expr::Kind::concat: {
            Text out;
            for (std::size_t i = 0; i < expr.parts.size(); ++i) {
                out.append(to_text(context_, part(i)));
                if (out.size() > kMaxStringBytes) at_line().charge_bytes(out.size());
            }
            return at_line().string(std::move(out));
        }
        default: {
            const Value left = part(0), right = part(1);
            return arithmetic(at_line(), expr.op, left, right);
        }
    }
}

Value Interpreter::evaluate_compare(const Expr& expr) {
    Value left = evaluate(*expr.parts[0]);
    for (std::size_t i = 0; i < expr.compares.size(); ++i) {
        const Value right = evaluate(*expr.parts[i + 1]);
        context_.line = expr.line;
        bool holds = false;
        switch (expr.compares[i]) {
            case Compare::eq: holds = equal(context_, left, right); break;
            case Compare::ne: holds = !equal(context_, left, right); break;
            case Compare::lt: holds = less(context_, left, right); break;
            case Compare::gt: holds = less(context_, right, left); break;
            case Compare::le: holds = less(context_, left, right) || equal(context_, left, right); break;
            case Compare::ge: holds = less(context_, right, left) || equal(context_, left, right); break;
            case Compare::in: holds = contains(context_, right, left); break;
            case Compare::not_in: holds = !contains(context_, right, left); break;
        }
        if (!holds) return Value::of(false);
        left = right;
    }
    return Value::of(true);
}

Value Interpreter::evaluate_filter(const Expr& expr, const Value* input) {
    const Deeper deeper(context_);
    Value subject;
    if (!expr.parts[0])
        subject = *input;
    else if (expr.parts[0]->kind == Expr::Kind::filter)
        subject = evaluate_filter(*expr.parts[0], input);
    else
        subject = evaluate(*expr.parts[0]);
    const Args args = evaluate_arguments(expr.arguments);
    context_.line = expr.line;
    return apply_filter(context_, expr.text, subject, args);
}

Args Interpreter::evaluate_arguments(const std::vector<Argument>& arguments) {
    Args out;
    for (const Argument& argument : arguments) {
        const Value value = evaluate(*argument.value);
        context_.charge(kUnitsPerElement);
        switch (argument.form) {
            case Argument::Form::positional: out.positional.push_back(value); break;
            case Argument::Form::named: out.named.emplace_back(argument.name, value); break;
            case Argument::Form::list:
                for (const Value& element : iterate(context_, value)) out.positional.push_back(element);
                break;
            case Argument::Form::dict:
                if (!value.is(Kind::dict)) context_.fail(fmt::format("** needs a dict, not {}", type_name(value)));
                for (const auto& [key, element] : value.dict->items) {
                    if (!key.is(Kind::string)) context_.fail("** needs a dict whose keys are strings");
                    context_.charge(kUnitsPerElement);
                    context_.charge_bytes(key.text->size());
                    out.named.emplace_back(key.text->bytes(), element);
                }
        }
    }
    return out;
}

}  // namespace tern::chat
