// Tokens to a Tree, by recursive descent. Expressions are in parser_expressions.cpp.
#pragma once

#include <initializer_list>
#include <unordered_map>

#include "chat/ast.h"
#include "chat/lexer.h"

namespace tern::chat {

class Parser {
public:
    explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)), tree_(std::make_unique<Tree>()) {}
    std::unique_ptr<const Tree> run();

private:
    // One level of nesting, for as long as it lives.
    class Level {
    public:
        explicit Level(Parser& parser);
        ~Level() { --parser_.level_; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;

    private:
        Parser& parser_;
    };

    // ---- tokens ----
    const Token& now() const { return tokens_[at_]; }
    const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
    bool is_symbol(std::string_view text) const { return now().kind == TokenKind::symbol && now().text == text; }
    bool is_name(std::string_view text) const { return now().kind == TokenKind::name && now().text == text; }
    bool skip_symbol(std::string_view text);
    bool skip_name(std::string_view text);
    void expect_symbol(std::string_view text);
    std::string expect_name(std::string_view what);
    void expect(TokenKind kind);
    [[noreturn]] void fail(const std::string& message) const;
    [[noreturn]] void unexpected(std::string_view wanted) const;

    // ---- statements ----
    // Until a block whose name is one of `ends`, which is consumed with its name; that name is returned. With no
    // `ends`: until the end of the template.
    std::string body(Body& out, std::initializer_list<std::string_view> ends, std::string_view opened_by,
                     std::uint32_t opened_at);
    void statement(Body& out);
    Node if_block();
    Node for_block();
    Node set_block();
    Node macro_block();
    Node call_block();
    Node filter_block();
    Node with_block();
    Node scope_block(const std::string& name);
    void end_of_block() { expect(TokenKind::block_end); }
    std::vector<Parameter> parameters();
    Target target(bool may_be_attribute);
    Target single_target(bool may_be_attribute);
    NameId name_id(const std::string& name);

    // ---- expressions ----
    ExprPtr expression();                // with `if`
    ExprPtr tuple(bool with_condition);  // expressions with commas between them
    ExprPtr condition();
    ExprPtr disjunction();
    ExprPtr conjunction();
    ExprPtr negation();
    ExprPtr comparison();
    ExprPtr sum();
    ExprPtr concatenation();
    ExprPtr product();
    ExprPtr power();
    ExprPtr unary(bool with_filters);
    ExprPtr primary();
    ExprPtr number();
    ExprPtr brackets();
    ExprPtr braces();
    ExprPtr postfix(ExprPtr subject);
    ExprPtr filters(ExprPtr subject);
    ExprPtr filter(ExprPtr subject);  // the name and arguments of one
    ExprPtr test(ExprPtr subject);
    ExprPtr subscript(ExprPtr subject);
    ExprPtr call(ExprPtr subject);
    std::vector<Argument> arguments();
    std::string dotted_name(std::string_view what);
    ExprPtr make(Expr::Kind kind, std::uint32_t line);
    // Takes parts over and keeps the height.
    ExprPtr join(Expr::Kind kind, std::uint32_t line, ExprPtr a, ExprPtr b = nullptr, ExprPtr c = nullptr);
    void adopt(Expr& parent, ExprPtr child);
    void grow(Expr& parent, const Expr& child);

    std::vector<Token> tokens_;
    std::size_t at_ = 0;
    std::uint32_t level_ = 0;
    std::uint32_t loops_ = 0;  // around this place, for break and continue
    std::unique_ptr<Tree> tree_;
    std::unordered_map<std::string, NameId> ids_;
};

}  // namespace tern::chat
