// What goes wrong says what, and on which line.
#include <gtest/gtest.h>

#include <tern/chat.h>
#include <tern/error.h>

namespace tern::test {
namespace {

void expect_failure(const std::string& source, ErrorCode code, const std::string& line, const std::string& what) {
    try {
        const std::string text = ChatTemplate(source).render({{"user", "Hi"}}).text;
        ADD_FAILURE() << source << " gave " << text;
    } catch (const Error& e) {
        const std::string message = e.what();
        EXPECT_EQ(e.code(), code) << message;
        EXPECT_NE(message.find("line " + line + ":"), std::string::npos) << message;
        EXPECT_NE(message.find(what), std::string::npos) << message;
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
}

TEST(ChatErrors, SyntaxNamesItsLine) {
    const auto fails = [](const std::string& source, const std::string& line, const std::string& what) {
        expect_failure(source, ErrorCode::bad_file, line, what);
    };
    fails("a\nb\n{% nosuch %}", "3", "unknown block 'nosuch'");
    fails("a\n{% if x %}\nb\n", "2", "'if' without its 'endif'");
    fails("\n{% for a in b %}\n{% endif %}", "3", "'endif' inside of 'for' from line 2");
    fails("\n\n{% endif %}", "3", "'endif' outside of a block");
    fails("{{ 1 +\n }}", "2", "'}}' where an expression is expected");
    fails("\n{{ 'abc }}", "2", "without its closing '");
    fails("\n{{ a b }}", "2", "'b' where '}}' is expected");
    fails("\n{{ (1] }}", "2", "unexpected ']', expected ')'");
    fails("\n{{ 1", "2", "'{{' without its '}}'");
    fails("\n{# c", "2", "without its '#}'");
    fails("\n{% raw %}\n", "2", "'raw' without its 'endraw'");
    fails("\n{{ a ? b }}", "2", "unexpected character '?'");
    fails("\n{% break %}", "2", "outside of a loop");
    fails("\n{% include 'x' %}", "2", "needs other files");
    fails("\n{% set true = 1 %}", "2", "cannot be assigned");
    fails("\n{{ 99999999999999999999 }}", "2", "does not fit 64 bits");
    fails("\n{{ '\\x4' }}", "2", "hexadecimal digits");
    fails("{{ 'a\nb' }}\n{% x %}", "3", "unknown block");
}

TEST(ChatErrors, RenderingNamesItsLine) {
    const auto fails = [](const std::string& source, const std::string& line, const std::string& what) {
        expect_failure(source, ErrorCode::invalid_argument, line, what);
    };
    fails("\n\n{{ raise_exception('no system role') }}", "3", "refuses these messages: no system role");
    fails("{% if true %}\n{{ a.b }}{% endif %}", "2", "'a' is undefined");
    fails("\n{{ messages[0].x.y }}", "2", "'dict object' has no attribute 'x'");
    fails("\n{{ 'a' + 1 }}", "2", "can only concatenate str");
    fails("\n{{ 'x'.nope() }}", "2", "'str object' has no attribute 'nope'");
    fails("\n{% for i in none %}{% endfor %}", "2", "'NoneType' object is not iterable");
    fails("\n{{ 1 // 0 }}", "2", "by zero");
    fails("{% macro m() %}\n{{ 1 % 0 }}{% endmacro %}\n\n{{ m() }}", "2", "by zero");
    fails("{% macro m(a) %}\n{% endmacro %}\n{{ m(b=1) }}", "3", "macro 'm' has no parameter 'b'");
    fails("\n{% set d = {} %}{% set d.x = 1 %}", "2", "no namespace()");
    fails("\n{{ 'a'.split(1) }}", "2", "must be a string, not int");
    fails("\n{{ 'a'|replace('b') }}", "2", "needs its argument 'new'");
    expect_failure("\n{{ 1|nosuch }}", ErrorCode::unsupported, "2", "no filter named 'nosuch'");
    expect_failure("\n{{ 1 is nosuch }}", ErrorCode::unsupported, "2", "no test named 'nosuch'");
    expect_failure("\n{{ 9223372036854775807 + 1 }}", ErrorCode::unsupported, "2", "64 bits");
}

}  // namespace
}  // namespace tern::test
