#include "chat/interpreter.h"

#include <algorithm>

#include <fmt/format.h>

namespace tern::chat {
namespace {

class Macro : public Object {
public:
    Macro(Interpreter& interpreter, const Node& node, Scope& scope, std::string name)
        : interpreter_(interpreter), node_(node), scope_(scope), name_(std::move(name)) {}
    const char* type_name() const noexcept override { return "Macro"; }
    bool callable() const noexcept override { return true; }
    Value call(Context&, const Args& args) override { return interpreter_.call_macro(node_, scope_, name_, args); }
    bool get(Context& context, std::string_view name, Value& out) override {
        if (name != "name") return false;
        out = context.string(name_);
        return true;
    }

private:
    Interpreter& interpreter_;
    const Node& node_;
    Scope& scope_;
    std::string name_;
};

// The variable `loop`.
class Loop : public Object {
public:
    Loop(Interpreter& interpreter, const Node& node, Scope& around, std::vector<Value> items, std::int64_t depth)
        : interpreter_(interpreter), node_(node), around_(around), items_(std::move(items)), depth_(depth) {}

    const char* type_name() const noexcept override { return "LoopContext"; }
    bool callable() const noexcept override { return node_.recursive; }
    const std::vector<Value>& items() const noexcept { return items_; }
    void move_to(std::size_t at) noexcept { at_ = at; }

    Value call(Context& context, const Args& args) override {
        if (!node_.recursive) context.fail("the loop is not marked as recursive");
        if (args.positional.size() != 1 || !args.named.empty()) context.fail("loop() takes the values to loop over");
        return interpreter_.call_loop(node_, around_, args.positional[0], depth_ + 1);
    }

    bool get(Context& context, std::string_view name, Value& out) override {
        const auto at = static_cast<std::int64_t>(at_), count = static_cast<std::int64_t>(items_.size());
        if (name == "index") return give(out, Value::of(at + 1));
        if (name == "index0") return give(out, Value::of(at));
        if (name == "revindex") return give(out, Value::of(count - at));
        if (name == "revindex0") return give(out, Value::of(count - at - 1));
        if (name == "first") return give(out, Value::of(at == 0));
        if (name == "last") return give(out, Value::of(at + 1 == count));
        if (name == "length") return give(out, Value::of(count));
        if (name == "depth") return give(out, Value::of(depth_ + 1));
        if (name == "depth0") return give(out, Value::of(depth_));
        if (name == "previtem")
            return give(out, at > 0 ? items_[at_ - 1] : context.undefined("there is no previous item"));
        if (name == "nextitem")
            return give(out, at + 1 < count ? items_[at_ + 1] : context.undefined("there is no next item"));
        if (name == "cycle" || name == "changed")
            return give(out, Value::of(context.make<LoopFunction>(*this, name == "cycle")));
        return false;
    }

private:
    class LoopFunction : public Object {
    public:
        LoopFunction(Loop& loop, bool cycles) : loop_(loop), cycles_(cycles) {}
        const char* type_name() const noexcept override { return "method"; }
        bool callable() const noexcept override { return true; }
        Value call(Context& context, const Args& args) override {
            if (cycles_) {
                if (args.positional.empty()) context.fail("loop.cycle() needs the values to cycle through");
                return args.positional[loop_.at_ % args.positional.size()];
            }
            List* now = context.new_list(args.positional.size());
            now->items = args.positional;
            const Value value = Value::of(now, Kind::tuple);
            const bool same = loop_.last_.is(Kind::tuple) && equal(context, loop_.last_, value);
            loop_.last_ = value;
            return Value::of(!same);
        }

    private:
        Loop& loop_;
        bool cycles_;
    };

    static bool give(Value& out, const Value& value) {
        out = value;
        return true;
    }

    Interpreter& interpreter_;
    const Node& node_;
    Scope& around_;
    std::vector<Value> items_;
    std::int64_t depth_;
    std::size_t at_ = 0;
    Value last_;  // what changed() saw
};

}  // namespace

Interpreter::Interpreter(Context& context, const Tree& tree, const Globals& globals)
    : context_(context),
      tree_(tree),
      loop_(id_of("loop")),
      caller_(id_of("caller")),
      varargs_(id_of("varargs")),
      kwargs_(id_of("kwargs")) {
    scopes_.emplace_back();
    scope_ = &scopes_.back();
    for (std::size_t id = 0; id < tree.names.size(); ++id)
        if (const auto found = globals.find(tree.names[id]); found != globals.end())
            set(static_cast<NameId>(id), found->second);
}

Text Interpreter::run() { return captured(tree_.body); }

NameId Interpreter::id_of(std::string_view name) const {
    const auto found = std::find(tree_.names.begin(), tree_.names.end(), name);
    return found == tree_.names.end() ? kUnused : static_cast<NameId>(found - tree_.names.begin());
}

// ---- scopes -------------------------------------------------------------------------------------------------------

Interpreter::Inner::Inner(Interpreter& interpreter, Scope& parent) : interpreter_(interpreter), before_(interpreter.scope_) {
    interpreter.context_.charge(4 * kUnitsPerElement);
    interpreter.scopes_.push_back({.parent = &parent});
    interpreter.scope_ = &interpreter.scopes_.back();
}

Interpreter::Inner::~Inner() {
    if (!interpreter_.scope_->kept && interpreter_.scope_ == &interpreter_.scopes_.back()) interpreter_.scopes_.pop_back();
    interpreter_.scope_ = before_;
}

void Interpreter::keep(Scope* scope) {
    for (; scope && !scope->kept; scope = scope->parent) scope->kept = true;
}

void Interpreter::set(NameId id, const Value& value) {
    context_.charge(kUnitsPerElement + scope_->variables.size() / 16);
    for (auto& [name, old] : scope_->variables)
        if (name == id) {
            old = value;
            return;
        }
    scope_->variables.emplace_back(id, value);
}

Value Interpreter::get(NameId id) {
    for (const Scope* scope = scope_; scope; scope = scope->parent) {
        context_.charge(1 + scope->variables.size() / 16);
        for (const auto& [name, value] : scope->variables)
            if (name == id) return value;
    }
    return context_.undefined(fmt::format("'{}' is undefined", tree_.names[id]));
}

void Interpreter::assign(const Target& target, const Value& value) {
    switch (target.kind) {
        case Target::Kind::name: set(target.id, value); return;
        case Target::Kind::attribute: {
            const Value holder = get(target.id);
            auto* ns = holder.is(Kind::object) ? dynamic_cast<Namespace*>(holder.object) : nullptr;
            if (!ns)
                context_.fail(fmt::format("cannot assign attribute '{}' on '{}', which is no namespace(): only those keep "
                                          "what is set within a loop",
                                          target.attribute, tree_.names[target.id]));
            ns->values.set(context_, context_.string(target.attribute), value);
            return;
        }
        case Target::Kind::tuple: {
            require_defined(context_, value);
            const std::vector<Value> parts = iterate(context_, value);
            if (parts.size() != target.parts.size())
                context_.fail(fmt::format("{} values cannot be unpacked into {} names", parts.size(), target.parts.size()));
            for (std::size_t i = 0; i < parts.size(); ++i) assign(target.parts[i], parts[i]);
        }
    }
}

// ---- statements ---------------------------------------------------------------------------------------------------

void Interpreter::print(const Text& text) {
    if (out_->size() + text.size() > kMaxStringBytes) context_.charge_bytes(out_->size() + text.size());
    context_.charge_bytes(text.size());
    out_->append(text);
}

void Interpreter::print(const Value& value) {
    if (value.is(Kind::string))
        print(*value.text);
    else if (!value.is(Kind::undefined))
        print(to_text(context_, value));
}

Text Interpreter::captured(const Body& body) {
    Text text;
    Text* before = std::exchange(out_, &text);
    run_body(body);
    out_ = before;
    return text;
}

Interpreter::Flow Interpreter::run_body(const Body& body) {
    const Deeper deeper(context_);
    for (const Node& node : body)
        if (const Flow flow = run_node(node); flow != Flow::normal) return flow;
    return Flow::normal;
}

Interpreter::Flow Interpreter::run_node(const Node& node) {
    context_.line = node.line;
    context_.charge(1);
    switch (node.kind) {
        case Node::Kind::text: print(*node.text); break;
        case Node::Kind::output: print(evaluate(*node.expr)); break;
        case Node::Kind::branches: return run_branches(node);
        case Node::Kind::loop: run_loop(node, evaluate(*node.expr), 0); break;
        case Node::Kind::set: assign(node.target, evaluate(*node.expr)); break;
        case Node::Kind::set_block: {
            Value value;
            {
                const Inner inner(*this);
                value = context_.string(captured(node.body));
            }
            if (node.expr) value = evaluate_filter(*node.expr, &value);
            assign(node.target, value);
            break;
        }
        case Node::Kind::macro:
            keep(scope_);
            set(node.target.id, Value::of(context_.make<Macro>(*this, node, *scope_, tree_.names[node.target.id])));
            break;
        case Node::Kind::call_block: run_call_block(node); break;
        case Node::Kind::filter_block: {
            Value value;
            {
                const Inner inner(*this);
                value = context_.string(captured(node.body));
            }
            print(evaluate_filter(*node.expr, &value));
            break;
        }
        case Node::Kind::with: run_with(node); break;
        case Node::Kind::scope: {
            const Inner inner(*this);
            return run_body(node.body);
        }
        case Node::Kind::stop: return Flow::stop;
        case Node::Kind::next: return Flow::next;
        case Node::Kind::run: evaluate(*node.expr); break;
    }
    return Flow::normal;
}

Interpreter::Flow Interpreter::run_branches(const Node& node) {
    for (const Branch& branch : node.branches)
        if (!branch.condition || truth(evaluate(*branch.condition))) return run_body(branch.body);
    return Flow::normal;
}

void Interpreter::run_loop(const Node& node, const Value& iterable, std::int64_t depth) {
    std::vector<Value> items = iterate(context_, iterable);
    if (node.filter) {
        const auto refused = [&](const Value& value) {
            const Inner inner(*this);
            assign(node.target, value);
            return !truth(evaluate(*node.filter));
        };
        items.erase(std::remove_if(items.begin(), items.end(), refused), items.end());
    }
    if (items.empty()) {
        if (node.branches.empty()) return;
        const Inner inner(*this);
        run_body(node.branches[0].body);
        return;
    }
    if (node.recursive) keep(scope_);
    Loop* loop = context_.make<Loop>(*this, node, *scope_, std::move(items), depth);
    for (std::size_t i = 0; i < loop->items().size(); ++i) {
        const Inner inner(*this);
        loop->move_to(i);
        if (loop_ != kUnused) set(loop_, Value::of(loop));
        assign(node.target, loop->items()[i]);
        if (run_body(node.body) == Flow::stop) break;
    }
}

Value Interpreter::call_loop(const Node& loop, Scope& around, const Value& items, std::int64_t depth) {
    Text text;
    Text* before = std::exchange(out_, &text);
    {
        const Inner inner(*this, around);
        run_loop(loop, items, depth);
    }
    out_ = before;
    return context_.string(std::move(text));
}

void Interpreter::run_call_block(const Node& node) {
    keep(scope_);
    Args args = evaluate_arguments(node.expr->arguments);
    args.named.emplace_back("caller", Value::of(context_.make<Macro>(*this, node, *scope_, "caller")));
    const Value callee = evaluate(*node.expr->parts[0]);
    context_.line = node.line;
    print(call(context_, callee, args));
}

void Interpreter::run_with(const Node& node) {
    // All values are of the scope outside.
    std::vector<Value> values;
    for (const Parameter& value : node.parameters) values.push_back(evaluate(*value.fallback));
    const Inner inner(*this);
    for (std::size_t i = 0; i < values.size(); ++i) assign(node.targets[i], values[i]);
    run_body(node.body);
}

Value Interpreter::call_macro(const Node& macro, Scope& defined_in, std::string_view name, const Args& args) {
    const Inner inner(*this, defined_in);
    const std::uint32_t line = context_.line;
    const std::size_t count = macro.parameters.size();
    std::vector<bool> given(count);
    for (std::size_t i = 0; i < std::min(count, args.positional.size()); ++i) {
        set(macro.parameters[i].id, args.positional[i]);
        given[i] = true;
    }
    if (args.positional.size() > count && varargs_ == kUnused)
        context_.fail(fmt::format("macro '{}' takes at most {} arguments, {} were given", name, count, args.positional.size()));
    Dict* more = nullptr;
    for (const auto& [key, value] : args.named) {
        const auto at = std::find_if(macro.parameters.begin(), macro.parameters.end(),
                                     [&, wanted = std::string_view(key)](const Parameter& p) { return tree_.names[p.id] == wanted; });
        if (at != macro.parameters.end()) {
            const auto i = static_cast<std::size_t>(at - macro.parameters.begin());
            if (given[i]) context_.fail(fmt::format("macro '{}' got two values for its parameter '{}'", name, key));
            set(at->id, value);
            given[i] = true;
        } else if (key == "caller") {
            if (caller_ != kUnused) set(caller_, value);
        } else if (kwargs_ != kUnused) {
            if (!more) more = context_.new_dict();
            more->set(context_, context_.string(key), value);
        } else {
            context_.fail(fmt::format("macro '{}' has no parameter '{}'", name, key));
        }
    }
    if (varargs_ != kUnused) {
        List* rest = context_.new_list(args.positional.size());
        if (args.positional.size() > count)
            rest->items.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(count), args.positional.end());
        set(varargs_, Value::of(rest, Kind::tuple));
    }
    if (kwargs_ != kUnused) set(kwargs_, Value::of(more ? more : context_.new_dict()));
    // A default sees the parameters, not the variables of the same names outside.
    for (std::size_t i = 0; i < count; ++i)
        if (!given[i])
            set(macro.parameters[i].id, context_.undefined(fmt::format("parameter '{}' was not provided",
                                                                       tree_.names[macro.parameters[i].id])));
    for (std::size_t i = 0; i < count; ++i)
        if (const Parameter& parameter = macro.parameters[i]; !given[i] && parameter.fallback)
            set(parameter.id, evaluate(*parameter.fallback));
    Value out = context_.string(captured(macro.body));
    context_.line = line;
    return out;
}

}  // namespace tern::chat
