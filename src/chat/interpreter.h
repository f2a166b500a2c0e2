// Runs a Tree. Expressions are in evaluate.cpp.
#pragma once

#include <unordered_map>

#include "chat/ast.h"
#include "chat/value.h"

namespace tern::chat {

using Globals = std::unordered_map<std::string_view, Value>;

// Variables of a block. `if` has none of its own: what it sets belongs to the block around it.
struct Scope {
    Scope* parent = nullptr;
    std::vector<std::pair<NameId, Value>> variables;
    bool kept = false;  // a macro refers to it, so it outlives its block
};

class Interpreter {
public:
    // `tree` and `context` must outlive it.
    Interpreter(Context& context, const Tree& tree, const Globals& globals);

    Text run();

    // For macros and loops, which are values.
    Value call_macro(const Node& macro, Scope& defined_in, std::string_view name, const Args& args);
    Value call_loop(const Node& loop, Scope& around, const Value& items, std::int64_t depth);

private:
    enum class Flow { normal, stop, next };
    static constexpr NameId kUnused = ~NameId{0};

    // A scope within the one that is current, until it dies.
    class Inner {
    public:
        explicit Inner(Interpreter& interpreter) : Inner(interpreter, *interpreter.scope_) {}
        Inner(Interpreter& interpreter, Scope& parent);
        ~Inner();
        Inner(const Inner&) = delete;
        Inner& operator=(const Inner&) = delete;

    private:
        Interpreter& interpreter_;
        Scope* before_;
    };

    NameId id_of(std::string_view name) const;
    void set(NameId id, const Value& value);
    Value get(NameId id);
    void assign(const Target& target, const Value& value);
    void keep(Scope* scope);

    Flow run_body(const Body& body);
    Flow run_node(const Node& node);
    Flow run_branches(const Node& node);
    void run_loop(const Node& node, const Value& items, std::int64_t depth);
    void run_call_block(const Node& node);
    void run_with(const Node& node);
    Text captured(const Body& body);
    void print(const Value& value);
    void print(const Text& text);

    Value evaluate(const Expr& expr);
    Value evaluate_compare(const Expr& expr);
    Value evaluate_filter(const Expr& expr, const Value* input);  // `input` in place of the innermost null
    Value evaluate_parts(const Expr& expr);
    Args evaluate_arguments(const std::vector<Argument>& arguments);

    Context& context_;
    const Tree& tree_;
    std::deque<Scope> scopes_;
    Scope* scope_ = nullptr;
    Text* out_ = nullptr;
    NameId loop_, caller_, varargs_, kwargs_;
};

}  // namespace tern::chat
