#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "chat/parser.h"

namespace tern::chat {

ExprPtr Parser::make(Expr::Kind kind, std::uint32_t line) {
    auto out = std::make_unique<Expr>();
    out->kind = kind;
    out->line = line;
    return out;
}

void Parser::grow(Expr& parent, const Expr& child) {
    parent.height = std::max(parent.height, child.height + 1);
    if (parent.height > kMaxChain) fail(fmt::format("an expression of more than {} operators in a row", kMaxChain));
}

void Parser::adopt(Expr& parent, ExprPtr child) {
    if (child) grow(parent, *child);
    parent.parts.push_back(std::move(child));
}

ExprPtr Parser::join(Expr::Kind kind, std::uint32_t line, ExprPtr a, ExprPtr b, ExprPtr c) {
    ExprPtr out = make(kind, line);
    adopt(*out, std::move(a));
    if (b) adopt(*out, std::move(b));
    if (c) adopt(*out, std::move(c));
    return out;
}

ExprPtr Parser::expression() {
    const Level level(*this);
    return condition();
}

ExprPtr Parser::tuple(bool with_condition) {
    const Level level(*this);
    const std::uint32_t line = now().line;
    const auto at_end = [&] {
        return now().kind == TokenKind::variable_end || now().kind == TokenKind::block_end || is_symbol(")") ||
               is_name("recursive") || (!with_condition && is_name("if"));
    };
    ExprPtr first = with_condition ? condition() : disjunction();
    if (!is_symbol(",")) return first;
    ExprPtr out = make(Expr::Kind::tuple, line);
    adopt(*out, std::move(first));
    while (skip_symbol(",") && !at_end()) adopt(*out, with_condition ? condition() : disjunction());
    return out;
}

ExprPtr Parser::condition() {
    const Level level(*this);
    const std::uint32_t line = now().line;
    ExprPtr out = disjunction();
    while (skip_name("if")) {
        ExprPtr test = disjunction();
        ExprPtr other = skip_name("else") ? condition() : nullptr;
        out = join(Expr::Kind::condition, line, std::move(out), std::move(test), std::move(other));
    }
    return out;
}

ExprPtr Parser::disjunction() {
    ExprPtr out = conjunction();
    while (is_name("or")) {
        const std::uint32_t line = now().line;
        ++at_;
        out = join(Expr::Kind::logical_or, line, std::move(out), conjunction());
    }
    return out;
}

ExprPtr Parser::conjunction() {
    ExprPtr out = negation();
    while (is_name("and")) {
        const std::uint32_t line = now().line;
        ++at_;
        out = join(Expr::Kind::logical_and, line, std::move(out), negation());
    }
    return out;
}

ExprPtr Parser::negation() {
    if (!is_name("not")) return comparison();
    const Level level(*this);
    const std::uint32_t line = now().line;
    ++at_;
    return join(Expr::Kind::logical_not, line, negation());
}

ExprPtr Parser::comparison() {
    const std::uint32_t line = now().line;
    ExprPtr first = sum();
    ExprPtr out;
    static constexpr std::pair<std::string_view, Compare> kSymbols[] = {
        {"==", Compare::eq}, {"!=", Compare::ne}, {"<", Compare::lt},
        {"<=", Compare::le}, {">", Compare::gt},  {">=", Compare::ge}};
    for (;;) {
        Compare compare{};
        const auto symbol = std::find_if(std::begin(kSymbols), std::end(kSymbols),
                                         [&](const auto& row) { return is_symbol(row.first); });
        if (symbol != std::end(kSymbols)) {
            compare = symbol->second;
            ++at_;
        } else if (skip_name("in")) {
            compare = Compare::in;
        } else if (is_name("not") && ahead().kind == TokenKind::name && ahead().text == "in") {
            compare = Compare::not_in;
            at_ += 2;
        } else {
            return out ? std::move(out) : std::move(first);
        }
        if (!out) out = join(Expr::Kind::compare, line, std::move(first));
        out->compares.push_back(compare);
        adopt(*out, sum());
    }
}

ExprPtr Parser::sum() {
    ExprPtr out = concatenation();
    while (is_symbol("+") || is_symbol("-")) {
        const Token& token = tokens_[at_++];
        out = join(Expr::Kind::arithmetic, token.line, std::move(out), concatenation());
        out->op = token.text == "+" ? Operator::add : Operator::subtract;
    }
    return out;
}

ExprPtr Parser::concatenation() {
    const std::uint32_t line = now().line;
    ExprPtr first = product();
    if (!is_symbol("~")) return first;
    ExprPtr out = join(Expr::Kind::concat, line, std::move(first));
    while (skip_symbol("~")) adopt(*out, product());
    return out;
}

ExprPtr Parser::product() {
    ExprPtr out = power();
    while (is_symbol("*") || is_symbol("/") || is_symbol("//") || is_symbol("%")) {
        const Token& token = tokens_[at_++];
        out = join(Expr::Kind::arithmetic, token.line, std::move(out), power());
        out->op = token.text == "*"    ? Operator::multiply
                  : token.text == "/"  ? Operator::divide
                  : token.text == "//" ? Operator::floor_divide
                                       : Operator::modulo;
    }
    return out;
}

ExprPtr Parser::power() {
    ExprPtr out = unary(true);
    while (is_symbol("**")) {
        const std::uint32_t line = now().line;
        ++at_;
        out = join(Expr::Kind::arithmetic, line, std::move(out), unary(true));
        out->op = Operator::power;
    }
    return out;
}

ExprPtr Parser::unary(bool with_filters) {
    const std::uint32_t line = now().line;
    ExprPtr out;
    if (is_symbol("-") || is_symbol("+")) {
        const Level level(*this);
        const Expr::Kind kind = is_symbol("-") ? Expr::Kind::negate : Expr::Kind::plus;
        ++at_;
        out = join(kind, line, unary(false));
    } else {
        out = primary();
    }
    out = postfix(std::move(out));
    return with_filters ? filters(std::move(out)) : std::move(out);
}

ExprPtr Parser::primary() {
    const Token& token = now();
    switch (token.kind) {
        case TokenKind::name: {
            ++at_;
            ExprPtr out = make(Expr::Kind::constant, token.line);
            if (token.text == "true" || token.text == "True") {
                out->value = Value::of(true);
            } else if (token.text == "false" || token.text == "False") {
                out->value = Value::of(false);
            } else if (token.text == "none" || token.text == "None") {
                out->value = Value::none();
            } else {
                out->kind = Expr::Kind::name;
                out->id = name_id(token.text);
            }
            return out;
        }
        case TokenKind::string: {
            std::string text;
            while (now().kind == TokenKind::string) text += tokens_[at_++].text;  // "a" "b" is "ab"
            tree_->texts.emplace_back(std::move(text));
            ExprPtr out = make(Expr::Kind::constant, token.line);
            out->value = Value::of(&tree_->texts.back());
            return out;
        }
        case TokenKind::integer:
        case TokenKind::real: return number();
        case TokenKind::symbol:
            if (token.text == "(") {
                ++at_;
                ExprPtr out;
                if (is_symbol(")"))
                    out = make(Expr::Kind::tuple, token.line);
                else
                    out = tuple(true);
                expect_symbol(")");
                return out;
            }
            if (token.text == "[") return brackets();
            if (token.text == "{") return braces();
            break;
        default: break;
    }
    unexpected("an expression");
}

ExprPtr Parser::number() {
    const Token& token = tokens_[at_++];
    ExprPtr out = make(Expr::Kind::constant, token.line);
    const char* begin = token.text.data();
    const char* end = begin + token.text.size();
    if (token.kind == TokenKind::real) {
        double value = 0;
        if (std::from_chars(begin, end, value).ec != std::errc())
            syntax_error(token.line, fmt::format("the number {} is out of range", token.text));
        out->value = Value::of(value);
        return out;
    }
    int base = 10;
    if (token.text.size() > 2 && token.text[0] == '0') {
        const char c = static_cast<char>(token.text[1] | 0x20);
        base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 10;
        if (base != 10) begin += 2;
    }
    std::int64_t value = 0;
    const auto [rest, error] = std::from_chars(begin, end, value, base);
    if (error != std::errc() || rest != end)
        syntax_error(token.line, fmt::format("the integer {} does not fit 64 bits", token.text));
    out->value = Value::of(value);
    return out;
}

ExprPtr Parser::brackets() {
    ExprPtr out = make(Expr::Kind::list, now().line);
    expect_symbol("[");
    while (!is_symbol("]")) {
        if (!out->parts.empty()) {
            expect_symbol(",");
            if (is_symbol("]")) break;
        }
        adopt(*out, expression());
    }
    expect_symbol("]");
    return out;
}

ExprPtr Parser::braces() {
    ExprPtr out = make(Expr::Kind::dict, now().line);
    expect_symbol("{");
    while (!is_symbol("}")) {
        if (!out->parts.empty()) {
            expect_symbol(",");
            if (is_symbol("}")) break;
        }
        adopt(*out, expression());
        expect_symbol(":");
        adopt(*out, expression());
    }
    expect_symbol("}");
    return out;
}

ExprPtr Parser::postfix(ExprPtr subject) {
    for (;;) {
        if (is_symbol(".") || is_symbol("["))
            subject = subscript(std::move(subject));
        else if (is_symbol("("))
            subject = call(std::move(subject));
        else
            return subject;
    }
}

ExprPtr Parser::filters(ExprPtr subject) {
    for (;;) {
        if (skip_symbol("|"))
            subject = filter(std::move(subject));
        else if (is_name("is"))
            subject = test(std::move(subject));
        else if (is_symbol("("))
            subject = call(std::move(subject));
        else
            return subject;
    }
}

std::string Parser::dotted_name(std::string_view what) {
    std::string name = expect_name(what);
    while (skip_symbol(".")) name += "." + expect_name(what);
    return name;
}

ExprPtr Parser::filter(ExprPtr subject) {
    ExprPtr out = make(Expr::Kind::filter, now().line);
    adopt(*out, std::move(subject));
    out->text = dotted_name("the name of a filter");
    if (is_symbol("(")) out->arguments = arguments();
    for (const Argument& argument : out->arguments) grow(*out, *argument.value);
    return out;
}

ExprPtr Parser::test(ExprPtr subject) {
    const std::uint32_t line = now().line;
    ++at_;  // is
    const bool negated = skip_name("not");
    ExprPtr out = make(Expr::Kind::test, line);
    adopt(*out, std::move(subject));
    out->text = dotted_name("the name of a test");
    // Words that go on with the expression; any other primary is the test's argument.
    const auto goes_on = [&] {
        for (const char* word : {"else", "or", "and", "if", "in", "not", "is", "recursive"})
            if (is_name(word)) return true;
        return false;
    };
    const bool has_argument = now().kind == TokenKind::name || now().kind == TokenKind::string ||
                              now().kind == TokenKind::integer || now().kind == TokenKind::real || is_symbol("[") ||
                              is_symbol("{");
    if (is_symbol("(")) {
        out->arguments = arguments();
    } else if (has_argument && !goes_on()) {
        Argument argument;
        argument.value = postfix(primary());
        out->arguments.push_back(std::move(argument));
    }
    for (const Argument& argument : out->arguments) grow(*out, *argument.value);
    return negated ? join(Expr::Kind::logical_not, line, std::move(out)) : std::move(out);
}

ExprPtr Parser::subscript(ExprPtr subject) {
    const std::uint32_t line = now().line;
    if (skip_symbol(".")) {
        const Token& token = now();
        if (token.kind == TokenKind::integer) return join(Expr::Kind::item, line, std::move(subject), number());
        if (token.kind != TokenKind::name) unexpected("a name after '.'");
        ++at_;
        ExprPtr out = join(Expr::Kind::attribute, line, std::move(subject));
        out->text = token.text;
        return out;
    }
    expect_symbol("[");
    const auto ends = [&] { return is_symbol("]") || is_symbol(","); };
    ExprPtr start, stop, step;
    if (!is_symbol(":")) {
        start = expression();
        if (is_symbol(",")) {  // x[1, 2] has a tuple as its key
            ExprPtr key = join(Expr::Kind::tuple, line, std::move(start));
            while (skip_symbol(",") && !is_symbol("]")) adopt(*key, expression());
            start = std::move(key);
        }
    }
    if (!skip_symbol(":")) {
        expect_symbol("]");
        return join(Expr::Kind::item, line, std::move(subject), std::move(start));
    }
    if (!ends() && !is_symbol(":")) stop = expression();
    if (skip_symbol(":") && !ends()) step = expression();
    expect_symbol("]");
    ExprPtr out = join(Expr::Kind::slice, line, std::move(subject));
    adopt(*out, std::move(start));
    adopt(*out, std::move(stop));
    adopt(*out, std::move(step));
    return out;
}

ExprPtr Parser::call(ExprPtr subject) {
    ExprPtr out = join(Expr::Kind::call, now().line, std::move(subject));
    out->arguments = arguments();
    for (const Argument& argument : out->arguments) grow(*out, *argument.value);
    return out;
}

std::vector<Argument> Parser::arguments() {
    std::vector<Argument> out;
    expect_symbol("(");
    while (!is_symbol(")")) {
        if (!out.empty()) {
            expect_symbol(",");
            if (is_symbol(")")) break;
        }
        Argument argument;
        if (skip_symbol("*")) {
            argument.form = Argument::Form::list;
        } else if (skip_symbol("**")) {
            argument.form = Argument::Form::dict;
        } else if (now().kind == TokenKind::name && ahead().kind == TokenKind::symbol && ahead().text == "=") {
            argument.form = Argument::Form::named;
            argument.name = now().text;
            at_ += 2;
        } else if (!out.empty() && out.back().form != Argument::Form::positional && out.back().form != Argument::Form::list) {
            fail("an argument without a name after one with a name");
        }
        argument.value = expression();
        out.push_back(std::move(argument));
    }
    expect_symbol(")");
    return out;
}

}  // namespace tern::chat
