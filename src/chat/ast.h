// A parsed template. Names are numbers into Tree::names, so that scopes compare integers.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "chat/value.h"

namespace tern::chat {

// Levels of brackets, conditions and blocks in a template, and of operators in one expression.
inline constexpr std::uint32_t kMaxNesting = 200;
inline constexpr std::uint32_t kMaxChain = 400;

using NameId = std::uint32_t;

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Argument {
    enum class Form : std::uint8_t { positional, named, list, dict };  // x, name=x, *x, **x
    Form form = Form::positional;
    std::string name;
    ExprPtr value;
};

enum class Compare : std::uint8_t { eq, ne, lt, le, gt, ge, in, not_in };

struct Expr {
    enum class Kind : std::uint8_t {
        constant,   // value
        name,       // id
        list,       // parts
        tuple,      // parts
        dict,       // parts: key, value, key, …
        attribute,  // parts[0].text
        item,       // parts[0][parts[1]]
        slice,      // parts[0][parts[1]:parts[2]:parts[3]], null where left out
        call,       // parts[0](arguments)
        filter,     // parts[0]|text(arguments); parts[0] is null in a filter block
        test,       // parts[0] is text(arguments)
        negate,
        plus,
        logical_not,
        logical_and,
        logical_or,
        compare,     // parts[0] compares[0] parts[1] compares[1] parts[2] …
        concat,      // parts, as text
        arithmetic,  // parts[0] op parts[1]
        condition,   // parts[0] if parts[1] else parts[2], which may be null
    };
    Kind kind = Kind::constant;
    Operator op = Operator::add;
    std::uint32_t line = 0;
    std::uint32_t height = 0;  // levels below
    NameId id = 0;
    Value value;
    std::string text;
    std::vector<ExprPtr> parts;
    std::vector<Argument> arguments;
    std::vector<Compare> compares;
};

// What `set` and `for` assign to.
struct Target {
    enum class Kind : std::uint8_t { name, attribute, tuple } kind = Kind::name;
    NameId id = 0;          // of the variable, or of the namespace
    std::string attribute;
    std::vector<Target> parts;
};

struct Parameter {
    NameId id = 0;
    ExprPtr fallback;  // null: none
};

struct Node;
using Body = std::vector<Node>;

struct Branch {
    ExprPtr condition;  // null: else
    Body body;
};

struct Node {
    enum class Kind : std::uint8_t {
        text,
        output,      // {{ expr }}
        branches,    // if
        loop,        // for target in expr if filter: body, else branches[0].body
        set,         // target = expr
        set_block,   // target = body, filtered by expr where it is not null
        macro,       // target.id, parameters, body
        call_block,  // expr is the call, parameters and body are the caller's
        filter_block,
        with,   // parameters with values, body
        scope,  // generation, block: a body of its own scope
        stop,   // break
        next,   // continue
        run,    // do
    };
    Kind kind = Kind::text;
    std::uint32_t line = 0;
    bool recursive = false;
    const Text* text = nullptr;
    ExprPtr expr;
    ExprPtr filter;
    Target target;
    std::vector<Parameter> parameters;
    std::vector<Target> targets;  // with
    Body body;
    std::vector<Branch> branches;
};

struct Tree {
    Body body;
    std::vector<std::string> names;
    std::deque<Text> texts;  // that constants and nodes point to
};

// Error(bad_file) with the line.
std::unique_ptr<const Tree> parse_template(std::string_view source);

}  // namespace tern::chat
