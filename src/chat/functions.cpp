// Functions that templates call by name.
#include <algorithm>

#include <fmt/format.h>

#include "chat/args.h"
#include "chat/dates.h"
#include "chat/filters.h"

namespace tern::chat {
namespace {

class Function : public Object {
public:
    using Body = Value (*)(Context& context, const Args& args);
    explicit Function(Body body) : body_(body) {}
    const char* type_name() const noexcept override { return "function"; }
    bool callable() const noexcept override { return true; }
    Value call(Context& context, const Args& args) override { return body_(context, args); }

private:
    Body body_;
};

Value range(Context& context, const Args& args) {
    const Bound bound(context, "range", args, {"start", "stop", "step"});
    bound.need(0);
    const bool one = !bound.has(1);
    const std::int64_t start = one ? 0 : bound.integer(0, 0);
    const std::int64_t stop = one ? bound.integer(0, 0) : bound.integer(1, 0);
    const std::int64_t step = bound.integer(2, 1);
    if (step == 0) context.fail("range() needs a step that is not zero");
    List* out = context.new_list();
    for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
        if (static_cast<std::int64_t>(out->items.size()) == kMaxRange)
            context.fail(fmt::format("range() of more than {} numbers", kMaxRange));
        context.push(*out, Value::of(i));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return Value::of(out);
}

void fill(Context& context, Dict& dict, const Args& args, std::string_view name) {
    if (args.positional.size() > 1) context.fail(fmt::format("{}() takes at most one argument without a name", name));
    if (!args.positional.empty()) {
        const Value& from = args.positional[0];
        if (from.is(Kind::dict)) {
            for (const auto& [key, value] : from.dict->items) dict.set(context, key, value);
        } else {
            for (const Value& pair : iterate(context, from)) {
                const std::vector<Value> parts = iterate(context, pair);
                if (parts.size() != 2) context.fail(fmt::format("{}() needs pairs of a key and a value", name));
                dict.set(context, parts[0], parts[1]);
            }
        }
    }
    for (const auto& [key, value] : args.named) dict.set(context, context.string(key), value);
}

Value make_dict(Context& context, const Args& args) {
    Dict* out = context.new_dict();
    fill(context, *out, args, "dict");
    return Value::of(out);
}

Value make_namespace(Context& context, const Args& args) {
    Namespace* out = context.make<Namespace>();
    fill(context, out->values, args, "namespace");
    return Value::of(out);
}

class Cycler : public Object {
public:
    explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
    const char* type_name() const noexcept override { return "Cycler"; }
    bool get(Context& context, std::string_view name, Value& out) override {
        if (name == "current")
            out = items_[at_];
        else if (name == "next" || name == "reset")
            out = Value::of(context.make<Step>(*this, name == "next"));
        else
            return false;
        return true;
    }

private:
    class Step : public Object {
    public:
        Step(Cycler& cycler, bool forward) : cycler_(cycler), forward_(forward) {}
        const char* type_name() const noexcept override { return "method"; }
        bool callable() const noexcept override { return true; }
        Value call(Context&, const Args&) override {
            const Value out = forward_ ? cycler_.items_[cycler_.at_] : Value::none();
            cycler_.at_ = forward_ ? (cycler_.at_ + 1) % cycler_.items_.size() : 0;
            return out;
        }

    private:
        Cycler& cycler_;
        bool forward_;
    };

    std::vector<Value> items_;
    std::size_t at_ = 0;
};

Value make_cycler(Context& context, const Args& args) {
    if (args.positional.empty()) context.fail("cycler() needs the values to cycle through");
    return Value::of(context.make<Cycler>(args.positional));
}

// Nothing the first time it is called, then the separator.
class Joiner : public Object {
public:
    explicit Joiner(const Value& separator) : separator_(separator) {}
    const char* type_name() const noexcept override { return "Joiner"; }
    bool callable() const noexcept override { return true; }
    Value call(Context& context, const Args&) override {
        if (used_) return separator_;
        used_ = true;
        return context.string(Text());
    }

private:
    Value separator_;
    bool used_ = false;
};

Value make_joiner(Context& context, const Args& args) {
    const Bound bound(context, "joiner", args, {"sep"});
    return Value::of(context.make<Joiner>(bound.get(0, context.string(std::string(", ")))));
}

Value raise_exception(Context& context, const Args& args) {
    const Bound bound(context, "raise_exception", args, {"message"});
    context.fail(fmt::format("the template refuses these messages: {}", to_text(context, bound.get(0, {})).view()));
}

Value strftime_now(Context& context, const Args& args) {
    const Bound bound(context, "strftime_now", args, {"format"});
    const Text& format = bound.text(0);
    // A directive gives at most 24 bytes.
    context.charge_bytes(format.size() * 12);
    return context.string(format_date(format.view(), context.now()));
}

}  // namespace

void add_functions(Context& context, Globals& globals) {
    static constexpr std::pair<std::string_view, Function::Body> kFunctions[] = {
        {"range", range},   {"dict", make_dict},     {"namespace", make_namespace},         {"cycler", make_cycler},
        {"joiner", make_joiner}, {"raise_exception", raise_exception}, {"strftime_now", strftime_now}};
    for (const auto& [name, body] : kFunctions) globals[name] = Value::of(context.make<Function>(body));
}

}  // namespace tern::chat
