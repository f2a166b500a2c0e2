#include "chat/parser.h"

#include <algorithm>

#include <fmt/format.h>

namespace tern::chat {

std::unique_ptr<const Tree> parse_template(std::string_view source) { return Parser(cut_template(source)).run(); }

std::unique_ptr<const Tree> Parser::run() {
    body(tree_->body, {}, "", 0);
    return std::move(tree_);
}

Parser::Level::Level(Parser& parser) : parser_(parser) {
    if (parser.level_ >= kMaxNesting) parser.fail(fmt::format("nested more than {} levels deep", kMaxNesting));
    ++parser.level_;
}

// ---- tokens -------------------------------------------------------------------------------------------------------

void Parser::fail(const std::string& message) const { syntax_error(now().line, message); }

void Parser::unexpected(std::string_view wanted) const {
    std::string found;
    switch (now().kind) {
        case TokenKind::text: found = "text"; break;
        case TokenKind::variable_begin: found = "'{{'"; break;
        case TokenKind::variable_end: found = "'}}'"; break;
        case TokenKind::block_begin: found = "'{%'"; break;
        case TokenKind::block_end: found = "'%}'"; break;
        case TokenKind::string: found = "a string"; break;
        case TokenKind::end: found = "the end of the template"; break;
        default: found = fmt::format("'{}'", now().text);
    }
    fail(fmt::format("{} where {} is expected", found, wanted));
}

bool Parser::skip_symbol(std::string_view text) {
    if (!is_symbol(text)) return false;
    ++at_;
    return true;
}

bool Parser::skip_name(std::string_view text) {
    if (!is_name(text)) return false;
    ++at_;
    return true;
}

void Parser::expect_symbol(std::string_view text) {
    if (!skip_symbol(text)) unexpected(fmt::format("'{}'", text));
}

std::string Parser::expect_name(std::string_view what) {
    if (now().kind != TokenKind::name) unexpected(what);
    return tokens_[at_++].text;
}

void Parser::expect(TokenKind kind) {
    if (now().kind != kind) unexpected(kind == TokenKind::block_end ? "'%}'" : "'}}'");
    ++at_;
}

NameId Parser::name_id(const std::string& name) {
    const auto [at, added] = ids_.emplace(name, static_cast<NameId>(tree_->names.size()));
    if (added) tree_->names.push_back(name);
    return at->second;
}

// ---- statements ---------------------------------------------------------------------------------------------------

std::string Parser::body(Body& out, std::initializer_list<std::string_view> ends, std::string_view opened_by,
                         std::uint32_t opened_at) {
    const Level level(*this);
    for (;;) {
        const Token& token = now();
        switch (token.kind) {
            case TokenKind::end:
                if (ends.size() == 0) return {};
                syntax_error(opened_at, fmt::format("'{}' without its '{}'", opened_by, *(ends.end() - 1)));
            case TokenKind::text: {
                Node node;
                node.line = token.line;
                tree_->texts.emplace_back(token.text);
                node.text = &tree_->texts.back();
                out.push_back(std::move(node));
                ++at_;
                break;
            }
            case TokenKind::variable_begin: {
                ++at_;
                Node node;
                node.kind = Node::Kind::output;
                node.line = token.line;
                node.expr = tuple(true);
                expect(TokenKind::variable_end);
                out.push_back(std::move(node));
                break;
            }
            default: {
                ++at_;
                if (now().kind != TokenKind::name) unexpected("the name of a block");
                std::string name = now().text;
                if (std::find(ends.begin(), ends.end(), name) != ends.end()) {
                    ++at_;
                    return name;
                }
                if (name.starts_with("end") || name == "else" || name == "elif")
                    fail(opened_by.empty() ? fmt::format("'{}' outside of a block", name)
                                           : fmt::format("'{}' inside of '{}' from line {}", name, opened_by, opened_at));
                statement(out);
            }
        }
    }
}

void Parser::statement(Body& out) {
    const std::uint32_t line = now().line;
    const std::string name = expect_name("the name of a block");
    Node node;
    if (name == "if") {
        node = if_block();
    } else if (name == "for") {
        node = for_block();
    } else if (name == "set") {
        node = set_block();
    } else if (name == "macro") {
        node = macro_block();
    } else if (name == "call") {
        node = call_block();
    } else if (name == "filter") {
        node = filter_block();
    } else if (name == "with") {
        node = with_block();
    } else if (name == "generation" || name == "block") {
        node = scope_block(name);
    } else if (name == "break" || name == "continue") {
        if (loops_ == 0) syntax_error(line, fmt::format("'{}' outside of a loop", name));
        node.kind = name == "break" ? Node::Kind::stop : Node::Kind::next;
        end_of_block();
    } else if (name == "do") {
        node.kind = Node::Kind::run;
        node.expr = tuple(true);
        end_of_block();
    } else if (name == "include" || name == "import" || name == "from" || name == "extends") {
        syntax_error(line, fmt::format("'{}' needs other files, which a chat template does not have", name));
    } else {
        syntax_error(line, fmt::format("unknown block '{}'", name));
    }
    node.line = line;
    out.push_back(std::move(node));
}

Node Parser::if_block() {
    Node node;
    node.kind = Node::Kind::branches;
    const std::uint32_t line = now().line;
    for (std::string word = "if"; word != "endif";) {
        Branch branch;
        const bool last = word == "else";
        if (!last) branch.condition = tuple(false);
        end_of_block();
        word = last ? body(branch.body, {"endif"}, "if", line) : body(branch.body, {"elif", "else", "endif"}, "if", line);
        node.branches.push_back(std::move(branch));
    }
    end_of_block();
    return node;
}

Node Parser::for_block() {
    Node node;
    node.kind = Node::Kind::loop;
    const std::uint32_t line = now().line;
    node.target = target(false);
    if (!skip_name("in")) unexpected("'in'");
    node.expr = tuple(false);
    if (skip_name("if")) node.filter = expression();
    node.recursive = skip_name("recursive");
    end_of_block();
    ++loops_;
    const std::string word = body(node.body, {"else", "endfor"}, "for", line);
    --loops_;
    if (word == "else") {
        end_of_block();
        Branch otherwise;
        body(otherwise.body, {"endfor"}, "for", line);
        node.branches.push_back(std::move(otherwise));
    }
    end_of_block();
    return node;
}

Node Parser::set_block() {
    Node node;
    const std::uint32_t line = now().line;
    node.target = target(true);
    if (skip_symbol("=")) {
        node.kind = Node::Kind::set;
        node.expr = tuple(true);
        end_of_block();
        return node;
    }
    node.kind = Node::Kind::set_block;
    while (skip_symbol("|")) node.expr = filter(std::move(node.expr));
    end_of_block();
    body(node.body, {"endset"}, "set", line);
    end_of_block();
    return node;
}

std::vector<Parameter> Parser::parameters() {
    std::vector<Parameter> out;
    expect_symbol("(");
    while (!is_symbol(")")) {
        if (!out.empty()) {
            expect_symbol(",");
            if (is_symbol(")")) break;
        }
        Parameter parameter;
        parameter.id = name_id(expect_name("the name of a parameter"));
        if (skip_symbol("="))
            parameter.fallback = expression();
        else if (!out.empty() && out.back().fallback)
            fail("a parameter without a default after one with a default");
        out.push_back(std::move(parameter));
    }
    expect_symbol(")");
    return out;
}

Node Parser::macro_block() {
    Node node;
    node.kind = Node::Kind::macro;
    const std::uint32_t line = now().line;
    node.target.id = name_id(expect_name("the name of the macro"));
    node.parameters = parameters();
    end_of_block();
    const std::uint32_t loops = std::exchange(loops_, 0);
    body(node.body, {"endmacro"}, "macro", line);
    loops_ = loops;
    if (now().kind == TokenKind::name) ++at_;  // endmacro may repeat the name
    end_of_block();
    return node;
}

Node Parser::call_block() {
    Node node;
    node.kind = Node::Kind::call_block;
    const std::uint32_t line = now().line;
    if (is_symbol("(")) node.parameters = parameters();
    node.expr = expression();
    if (node.expr->kind != Expr::Kind::call) syntax_error(line, "'call' needs the call of a macro");
    end_of_block();
    const std::uint32_t loops = std::exchange(loops_, 0);
    body(node.body, {"endcall"}, "call", line);
    loops_ = loops;
    end_of_block();
    return node;
}

Node Parser::filter_block() {
    Node node;
    node.kind = Node::Kind::filter_block;
    const std::uint32_t line = now().line;
    node.expr = filter(nullptr);
    while (skip_symbol("|")) node.expr = filter(std::move(node.expr));
    end_of_block();
    body(node.body, {"endfilter"}, "filter", line);
    end_of_block();
    return node;
}

Node Parser::with_block() {
    Node node;
    node.kind = Node::Kind::with;
    const std::uint32_t line = now().line;
    while (now().kind != TokenKind::block_end) {
        if (!node.targets.empty()) expect_symbol(",");
        node.targets.push_back(target(false));
        expect_symbol("=");
        Parameter value;
        value.fallback = expression();
        node.parameters.push_back(std::move(value));
    }
    end_of_block();
    body(node.body, {"endwith"}, "with", line);
    end_of_block();
    return node;
}

Node Parser::scope_block(const std::string& name) {
    Node node;
    node.kind = Node::Kind::scope;
    const std::uint32_t line = now().line;
    if (name == "block") {
        expect_name("the name of the block");
        while (skip_name("scoped") || skip_name("required")) {
        }
    }
    end_of_block();
    body(node.body, {name == "block" ? "endblock" : "endgeneration"}, name, line);
    if (now().kind == TokenKind::name) ++at_;
    end_of_block();
    return node;
}

Target Parser::single_target(bool may_be_attribute) {
    Target out;
    if (skip_symbol("(")) {
        const Level level(*this);
        out = target(may_be_attribute);
        expect_symbol(")");
        return out;
    }
    const std::string name = expect_name("the name of a variable");
    for (const char* word : {"true", "false", "none", "True", "False", "None"})
        if (name == word) fail(fmt::format("'{}' cannot be assigned to", name));
    out.id = name_id(name);
    if (may_be_attribute && skip_symbol(".")) {
        out.kind = Target::Kind::attribute;
        out.attribute = expect_name("the name of an attribute");
    }
    return out;
}

Target Parser::target(bool may_be_attribute) {
    Target first = single_target(may_be_attribute);
    if (!is_symbol(",")) return first;
    Target out;
    out.kind = Target::Kind::tuple;
    out.parts.push_back(std::move(first));
    while (skip_symbol(",")) {
        if (is_name("in") || is_symbol(")") || is_symbol("=")) break;
        out.parts.push_back(single_target(may_be_attribute));
    }
    return out;
}

}  // namespace tern::chat
