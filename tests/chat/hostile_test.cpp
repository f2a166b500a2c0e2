// Templates that want to do harm: each must end soon, with an Error, and without taking much memory.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <random>

#include <tern/chat.h>
#include <tern/error.h>

#include "chat/ast.h"
#include "chat/lexer.h"
#include "chat/value.h"

namespace tern::test {
namespace {

std::string repeat(const std::string& text, std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += text;
    return out;
}

// The bound is far above what the limits allow, sanitizers included.
void expect_refused(const std::string& source, const std::string& what) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string name = source.substr(0, 100);
    try {
        const std::string text = ChatTemplate(source).render({{"user", "Hi"}}).text;
        ADD_FAILURE() << name << " gave " << text.size() << " bytes";
    } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << name << ": " << e.what();
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(taken.count(), 120.0) << name;
}

TEST(ChatHostile, Nesting) {
    for (const auto& [open, close] : std::vector<std::pair<std::string, std::string>>{
             {"(", ")"}, {"[", "]"}, {"{1:", "}"}, {"not ", ""}, {"-", ""}, {"1 if 1 else ", ""}, {"f(", ")"}, {"a[", "]"}}) {
        expect_refused("{{ " + repeat(open, 20000) + "1" + repeat(close, 20000) + " }}", "levels deep");
        ChatTemplate("{{ " + repeat(open, 20) + "1" + repeat(close, 20) + " }}");
    }
    for (const char* block : {"{% if 1 %}", "{% for a in b %}", "{% macro m() %}", "{% set x %}", "{% call m() %}",
                              "{% filter trim %}", "{% with %}", "{% generation %}"})
        expect_refused(repeat(block, 20000), "levels deep");
    for (const char* chain : {" + 1", "|abs", ".a", "[0]", "()", " is odd", " and 1", " or 1", " ** 1", " if 1"})
        expect_refused("{{ 1" + repeat(chain, 20000) + " }}", "operators in a row");
    EXPECT_EQ(ChatTemplate("{{ 1" + repeat(" ~ 1", 2000) + " }}").render({}).text.size(), 2001u);
}

TEST(ChatHostile, Recursion) {
    expect_refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels of nested");
    expect_refused("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}", "levels of nested");
    expect_refused("{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}", "levels of nested");
    expect_refused("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "levels of nested");
    expect_refused("{% macro m() %}{% for a in [1,2] %}{{ m() }}{% endfor %}{% endmacro %}{{ m() }}", "levels of nested");
    for (const char* use : {"{{ l }}", "{{ l|tojson }}", "{{ l == m }}", "{{ l|string }}", "{{ l < m }}"})
        expect_refused(std::string("{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}{% set _ = m.append(m) %}") + use,
                       "levels of nested");
    expect_refused("{% set d = {} %}{% set _ = d.update({'d': d}) %}{{ d|tojson }}", "levels of nested");
    // A structure as deep as the template likes is built and dropped, but not walked.
    const std::string deep = "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}";
    EXPECT_EQ(ChatTemplate(deep + "x").render({}).text, "x");
    expect_refused(deep + "{{ ns.l }}", "levels of nested");
}

TEST(ChatHostile, Time) {
    expect_refused("{{ range(1000000) }}", "range()");
    expect_refused("{{ range(0, 9223372036854775807, 1) }}", "range()");
    EXPECT_EQ(ChatTemplate("{{ range(0, 9223372036854775807, 9223372036854775806)|list|length }}").render({}).text, "2");
    const std::string loop = "{% for a in range(100000) %}";
    expect_refused(loop + loop + loop + "{% endfor %}{% endfor %}{% endfor %}", "steps");
    expect_refused("{% set ns = namespace(l=[1]) %}" + loop + "{% set ns.l = ns.l + ns.l %}{% endfor %}", "");
    expect_refused("{% set l = [1] %}" + loop + "{% set _ = l.extend(l) %}{% endfor %}", "steps");
    expect_refused("{% set l = range(100000)|list %}" + loop + "{{ l|sort|length }}{% endfor %}", "steps");
    expect_refused("{% set l = range(100000)|list %}" + loop + "{{ a in l }}{{ -1 in l }}{% endfor %}", "steps");
    expect_refused("{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}", "");
    expect_refused(loop + "{{ 'a' * 10000 }}{% endfor %}", "");
    expect_refused(loop + "{% set x = 'a' * 10000 %}{{ x.split('a')|length }}{% endfor %}", "steps");
    expect_refused("{% set x = 'a' * 1000000 %}" + loop + "{{ x|length }}{{ x[-1] }}{{ 'b' in x }}{% endfor %}", "steps");
}

TEST(ChatHostile, Memory) {
    expect_refused("{{ 'a' * 1000000000000 }}", "the limit is");
    expect_refused("{{ 9223372036854775807 * 'ab' }}", "the limit is");
    expect_refused("{{ [1] * 1000000000000 }}", "the limit is");
    expect_refused("{{ [1] * 60000000 }}", "steps");
    expect_refused("{% set ns = namespace(x='a') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}", "");
    expect_refused("{% set ns = namespace(x='a') %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}", "");
    expect_refused("{% set ns = namespace(x='aa') %}{% for i in range(64) %}{% set ns.x = ns.x|replace('a', 'aa') %}{% endfor %}{{ ns.x }}", "");
    expect_refused("{% set ns = namespace(x='aa') %}{% for i in range(64) %}{% set ns.x = ns.x.replace('', ns.x) %}{% endfor %}{{ ns.x }}", "");
    expect_refused("{% set x = ['a' * 10000] * 100000 %}{{ x|join }}", "");
    expect_refused("{{ 'a'.center(99999999999) }}", "the limit is");
    expect_refused("{{ 'a'.ljust(9223372036854775807) }}", "the limit is");
    expect_refused("{{ '%99999999999d' % 1 }}", "too large");
    expect_refused("{{ '%.5000f' % 1.5 }}", "precision");
    expect_refused("{{ '{:99999999999}'.format(1) }}", "too large");
    expect_refused("{{ 'a'|indent(99999999999) }}", "the limit is");
    expect_refused("{{ [[1]]|tojson(indent=99999999999) }}", "the limit is");
    expect_refused("{{ 'a'.zfill(99999999999) }}", "the limit is");
    expect_refused("{{ [1]|batch(99999999999, 'x')|list }}", "steps");
    expect_refused("{{ 'a\tb'.expandtabs(99999999999)|length ~ 1 // 0 }}", "by zero");
    expect_refused(std::string(chat::kMaxTemplateBytes + 1, 'a'), "the limit is");
}

TEST(ChatHostile, Numbers) {
    for (const char* expression :
         {"-9223372036854775807 - 2", "9223372036854775807 * 2", "2 ** 64", "-(-9223372036854775807 - 1)",
          "(-9223372036854775807 - 1) // -1", "(-9223372036854775807 - 1)|abs", "[1]|sum(start=9223372036854775807)"})
        expect_refused(std::string("{{ ") + expression + " }}", "64 bits");
    EXPECT_EQ(ChatTemplate("{{ (-9223372036854775807 - 1) % -1 }}").render({}).text, "0");
    EXPECT_EQ(ChatTemplate("{{ -9223372036854775807 - 1 }}").render({}).text, "-9223372036854775808");
    EXPECT_EQ(ChatTemplate("{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}").render({}).text, "a");
}

TEST(ChatHostile, DeepJson) {
    const ChatTemplate chat("{{ messages|tojson|length }}");
    EXPECT_THROW(chat.render_json(repeat("[", 100000) + repeat("]", 100000)), Error);
    EXPECT_THROW(chat.render_json(repeat("{\"a\":", 100000)), Error);
    EXPECT_EQ(chat.render_json(repeat("[", 100) + repeat("]", 100)).text, "200");
}

// No host: the ways that escape Python's sandboxes lead nowhere.
TEST(ChatHostile, NothingButVariables) {
    for (const char* expression : {"''.__class__", "[].__class__", "range.__globals__", "messages.__init__", "cycler.__init__"})
        EXPECT_EQ(ChatTemplate(std::string("{{ ") + expression + " }}").render({}).text, "");
    expect_refused("{{ ''.__class__.__mro__ }}", "has no attribute");
    expect_refused("{{ open('/etc/passwd') }}", "'open' is undefined");
}

TEST(ChatHostile, RandomTemplates) {
    const std::vector<std::string> pieces = {
        "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", " ", "\n", "if", "endif", "for", "in", "endfor", "set", "x", "=", "1",
        "'", "\"", "(", ")", "[", "]", "{", "}", "|", "trim", ".", ",", ":", "~", "is", "not", "macro", "endmacro", "m",
        "call", "endcall", "raw", "endraw", "else", "loop", "messages", "\\", "\xff", "\xe2\x82", "0x", "1e", "*", "**", "%"};
    std::mt19937 random(7);
    for (int i = 0; i < 20000; ++i) {
        std::string source;
        for (std::size_t n = random() % 30; n > 0; --n) source += pieces[random() % pieces.size()];
        try {
            ChatTemplate(source).render({{"user", "Hi"}});
        } catch (const Error&) {
        }
    }
}

}  // namespace
}  // namespace tern::test
