// Control tokens come from the template, never from what it is given.
#include <gtest/gtest.h>

#include <tern/chat.h>
#include <tern/error.h>

#include "tests/tokenizer/small_vocabularies.h"

namespace tern::test {
namespace {

// The parts of the text that came from outside.
std::vector<std::string> outside(const std::string& source, const std::string& content, const ChatOptions& options = {}) {
    const ChatPrompt prompt = ChatTemplate(source).render({{"user", content}}, options);
    std::vector<std::string> out;
    std::size_t end = 0;
    for (const TextRange& range : prompt.outside) {
        EXPECT_LT(range.begin, range.end);
        EXPECT_LE(end, range.begin);
        EXPECT_LE(range.end, prompt.text.size());
        end = range.end;
        out.push_back(prompt.text.substr(range.begin, range.end - range.begin));
    }
    return out;
}

using Parts = std::vector<std::string>;

TEST(ChatOutside, FollowsStringsThroughTheTemplate) {
    const auto of = [](const std::string& expression, const std::string& content = "  <e> Abc\n<e>  ") {
        return outside("<b>{% set c = messages[0].content %}{{ " + expression + " }}<e>", content);
    };
    EXPECT_EQ(of("'<e>'"), Parts{});
    EXPECT_EQ(of("c"), Parts{"  <e> Abc\n<e>  "});
    EXPECT_EQ(of("c|trim"), Parts{"<e> Abc\n<e>"});
    EXPECT_EQ(of("'<x>' + c.strip() + '<y>' ~ c|trim ~ '<z>'"), (Parts{"<e> Abc\n<e>", "<e> Abc\n<e>"}));
    EXPECT_EQ(of("c|upper|trim"), Parts{"<E> ABC\n<E>"});
    EXPECT_EQ(of("c[2:5]"), Parts{"<e>"});
    EXPECT_EQ(of("c[::-1]|trim"), Parts{">e<\ncbA >e<"});
    EXPECT_EQ(of("c.split('Abc')[0]"), Parts{"  <e> "});
    EXPECT_EQ(of("c.split()|join('<j>')"), (Parts{"<e>", "Abc", "<e>"}));
    EXPECT_EQ(of("c.splitlines()|last"), Parts{"<e>  "});
    EXPECT_EQ(of("c|replace('Abc', '<r>')"), (Parts{"  <e> ", "\n<e>  "}));
    EXPECT_EQ(of("'a-b'|replace('-', c|trim)"), Parts{"<e> Abc\n<e>"});
    EXPECT_EQ(of("'<f>%s<g>' % c.strip()"), Parts{"<e> Abc\n<e>"});
    EXPECT_EQ(of("'<f>{}<g>'.format(c.strip())"), Parts{"<e> Abc\n<e>"});
    EXPECT_EQ(of("c|trim|tojson"), Parts{"<e> Abc\\n<e>"});
    EXPECT_EQ(of("{'k': [c|trim]}"), Parts{"<e> Abc\\n<e>"});
    EXPECT_EQ(of("{'<k>': c|trim}|tojson(indent=1)"), Parts{"<e> Abc\\n<e>"});
    EXPECT_EQ(of("c|trim|indent(1)"), (Parts{"<e> Abc", "<e>"}));
    EXPECT_EQ(of("messages|map(attribute='content')|map('trim')|join('<j>')"), Parts{"<e> Abc\n<e>"});
    EXPECT_EQ(of("'%c' % 60"), Parts{"<"});
    EXPECT_EQ(of("c|length"), Parts{});
    EXPECT_EQ(outside("{% macro m(x) %}<m>{{ x }}</m>{% endmacro %}{{ m(messages[0].content) }}", "<e>"), Parts{"<e>"});
    EXPECT_EQ(outside("{% set x %}<m>{{ messages[0].content }}{% endset %}{{ x }}", "<e>"), Parts{"<e>"});
    EXPECT_EQ(outside("{% filter upper %}a{{ messages[0].content }}b{% endfilter %}", "<e>"), Parts{"<E>"});
    EXPECT_EQ(outside("<{{ tools|tojson }}>", "", {.tools = R"(["<e>"])"}), Parts{"<e>"});
    EXPECT_EQ(outside("<{{ v }}{% for k in w %}{{ k }}{% endfor %}>", "", {.variables = R"({"v": "<e>", "w": {"<f>": 1}})"}),
              Parts{"<e><f>"});
    EXPECT_EQ(outside("{{ bos_token }}<{{ messages[0].role }}>", ""), Parts{});
}

// Templates make control tokens of roles.
TEST(ChatOutside, ARoleThatIsAWordIsTheTemplatesOwn) {
    const ChatTemplate chat("{% for m in messages %}{{ '<' + m.role + '>' + m.content }}{% endfor %}");
    const auto ranges = [&](const std::string& role) {
        const ChatPrompt one = chat.render({{role, ""}});
        const ChatPrompt json = chat.render_json(R"([{"content": "", "role": ")" + role + R"("}])");
        EXPECT_EQ(one.text, "<" + role + ">");
        EXPECT_EQ(one.text, json.text);
        EXPECT_EQ(one.outside.size(), json.outside.size());
        return one.outside.size();
    };
    for (const char* word : {"user", "assistant", "tool_response", "o-1", "IPython"}) EXPECT_EQ(ranges(word), 0u) << word;
    for (const char* other : {"a>", "<e>", "a b", "us|er", "ü"}) EXPECT_EQ(ranges(other), 1u) << other;
    // Only a message's own role: the text and other members stay outside.
    EXPECT_EQ(outside("{{ messages[0].content }}", "user"), Parts{"user"});
    EXPECT_EQ(outside("{{ v.name }}{{ v.list[0] }}", "", {.variables = R"({"v": {"name": "user", "list": ["role"]}})"}),
              Parts{"userrole"});
}

// A byte-level vocabulary whose "<e>" ends a turn.
VocabularyFile chat_vocabulary() {
    VocabularyFile f;
    f.model = "gpt2";
    f.pre = "gpt-2";
    for (const std::string& byte : byte_spellings()) f.add(byte);
    f.merges = {"a b"};
    f.add("ab");
    f.add("<b>", TokenType::control);
    f.add("<e>", TokenType::control);
    f.add("<u>", TokenType::user_defined);
    f.add("<s>", TokenType::control);
    f.scores.clear();
    f.more = [](gguf::Writer& w) {
        w.add_u32("tokenizer.ggml.bos_token_id", 260);
        w.add_u32("tokenizer.ggml.eos_token_id", 258);
        w.add_bool("tokenizer.ggml.add_bos_token", true);
        w.add_bool("tokenizer.ggml.add_eos_token", true);
    };
    return f;
}

TEST(ChatEncode, ContentsCannotSpellControlTokens) {
    const Tokenizer t = chat_vocabulary().load();
    const TokenId b = *t.find("<b>"), e = *t.find("<e>"), u = *t.find("<u>"), s = *t.find("<s>");
    const auto count = [](const std::vector<TokenId>& ids, TokenId id) { return std::count(ids.begin(), ids.end(), id); };
    const ChatTemplate chat("{{ bos_token }}{% for m in messages %}<b>{{ m.content }}<e>{% endfor %}<b>", t);
    for (const std::string content : {"Hi", "<e>", "<b><e><s>", " <e> x", "<", "<e", "e>", ">", ""}) {
        const ChatPrompt prompt = chat.render({{"user", content}});
        EXPECT_EQ(prompt.text, "<s><b>" + content + "<e><b>");
        const std::vector<TokenId> ids = encode_chat(t, prompt);
        EXPECT_EQ(ids.front(), s);
        EXPECT_EQ(count(ids, s), 1) << content;
        EXPECT_EQ(count(ids, b), 2) << content;
        EXPECT_EQ(count(ids, e), 1) << content;
        EXPECT_EQ(ids.back(), b) << content;  // no eos is added
        EXPECT_EQ(t.decode(ids), prompt.text);
    }
    // Words that the vocabulary adds are words in contents too.
    EXPECT_EQ(count(encode_chat(t, chat.render({{"user", "<u>"}})), u), 1);
    // Half a control token from the template and half from the content is none.
    const ChatTemplate half("{{ messages[0].content }}e><{{ messages[0].content }}", t);
    EXPECT_EQ(count(encode_chat(t, half.render({{"user", "<"}})), e), 0);
    // The role is half of the token.
    const ChatTemplate roles("{{ '<' + messages[0].role + '>' + messages[0].content }}", t);
    EXPECT_EQ(count(encode_chat(t, roles.render({{"e", "<e>"}})), e), 1);
    // The same text with everything trusted.
    EXPECT_EQ(count(t.encode("<s><b><e><e><b>", {.parse_special = true}), e), 3);
}

TEST(ChatEncode, ContentIsEncodedTogetherWithWhatStandsAroundIt) {
    const Tokenizer t = chat_vocabulary().load();
    const ChatPrompt prompt = ChatTemplate("<b>a{{ messages[0].content }}", t).render({{"user", "b<e>"}});
    EXPECT_EQ(encode_chat(t, prompt)[2], *t.find("ab"));
}

TEST(ChatEncode, BosIsPutInFrontOnce) {
    const Tokenizer t = chat_vocabulary().load();
    const std::vector<TokenId> without = encode_chat(t, ChatTemplate("<b>", t).render({}));
    const std::vector<TokenId> with = encode_chat(t, ChatTemplate("{{ bos_token }}<b>", t).render({}));
    EXPECT_EQ(with, without);
    EXPECT_EQ(with.size(), 2u);
    // One that a message spells is text.
    EXPECT_EQ(encode_chat(t, ChatTemplate("{{ messages[0].content }}", t).render({{"user", "<s>"}})).size(), 4u);
}

}  // namespace
}  // namespace tern::test
