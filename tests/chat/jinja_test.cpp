// A table of small templates whose results Python's Jinja2 gave (tests/data/chat/jinja.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <tern/chat.h>
#include <tern/error.h>

#include "tests/support/reference_data.h"

namespace tern::test {
namespace {

std::string render(const std::string& source, const nlohmann::ordered_json& variables = {{"messages", nlohmann::json::array()}}) {
    return ChatTemplate(source, {"<BOS>", "<EOS>"})
        .render_json(variables.dump(), {.add_generation_prompt = false, .now = "2026-01-15T12:00:00"})
        .text;
}

TEST(Jinja, SameAsPython) {
    const auto table =
        nlohmann::ordered_json::parse(read_file(std::filesystem::path(TERN_SOURCE_DIR) / "tests/data/chat/jinja.json"));
    ASSERT_GT(table.at("cases").size(), 600u);
    for (const auto& row : table.at("cases")) {
        const auto source = row.at("template").get<std::string>();
        if (row.contains("error")) {
            EXPECT_THROW(render(source, table.at("variables")), Error) << source;
        } else {
            try {
                EXPECT_EQ(render(source, table.at("variables")), row.at("text").get<std::string>()) << source;
            } catch (const Error& e) {
                ADD_FAILURE() << source << ": " << e.what();
            }
        }
    }
}

// Where Tern differs on purpose.
TEST(Jinja, MoreLenientThanPython) {
    EXPECT_EQ(render("{% set l = [1] %}{% do l.append(2) %}{{ l }}"), "[1, 2]");
    EXPECT_EQ(render("{% macro m(a) %}{{ a }}{% endmacro m %}{{ m(1) }}"), "1");
    EXPECT_EQ(render("{{ {'a': 1}.items() }}"), "[('a', 1)]");
}

TEST(Jinja, Dates) {
    const ChatTemplate chat("{{ strftime_now('%A %d %B %Y, week %W, day %j, %I:%M %p') }}");
    EXPECT_EQ(chat.render({}, {.now = "2024-02-29T00:05:59"}).text, "Thursday 29 February 2024, week 09, day 060, 12:05 AM");
    EXPECT_EQ(chat.render({}, {.now = "2000-12-31T23:00:00"}).text, "Sunday 31 December 2000, week 52, day 366, 11:00 PM");
    EXPECT_EQ(chat.render({}, {.now = "1900-01-01T12:00:00"}).text, "Monday 01 January 1900, week 01, day 001, 12:00 PM");
    for (const char* bad : {"2023-02-29T00:00:00", "2024-01-01", "2024-01-01 00:00:00", "2024-13-01T00:00:00", "now",
                            "2024-01-01T24:00:00", "0000-01-01T00:00:00"})
        EXPECT_THROW(chat.render({}, {.now = bad}), Error) << bad;
    EXPECT_EQ(ChatTemplate("{{ strftime_now('%Y')|int > 2000 }}").render({}).text, "True");  // the clock
}

TEST(Jinja, MessagesAndVariables) {
    const ChatTemplate chat("{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
                            "{{ tools is none }}{{ add_generation_prompt }}{{ think }}{{ eos_token }}",
                            {"<s>", "</s>"});
    EXPECT_EQ(chat.render({{"user", "Hi"}, {"assistant", "Yes?"}}).text, "<s>user:Hi;assistant:Yes?;TrueTrue</s>");
    EXPECT_EQ(chat.render({}, {.add_generation_prompt = false, .tools = "[{}]", .variables = R"({"think": true})"}).text,
              "<s>FalseFalseTrue</s>");
    EXPECT_EQ(chat.render_json(R"([{"role": "user", "content": "\u00e9"}])").text, "<s>user:\xC3\xA9;TrueTrue</s>");
    EXPECT_EQ(chat.render_json(R"({"messages": [], "add_generation_prompt": false, "think": 1.50})").text,
              "<s>TrueFalse1.5</s>");
    for (const char* bad : {"", "{", "5", "{}", R"({"messages": 5})", "[1,]", "\"\xff\""})
        EXPECT_THROW(chat.render_json(bad), Error) << bad;
    EXPECT_THROW(chat.render({}, {.tools = "["}), Error);
    EXPECT_THROW(chat.render({}, {.variables = "[]"}), Error);
}

TEST(Jinja, AnyBytesInMessages) {
    const ChatTemplate chat("{% for m in messages %}{{ m.content|trim|upper }}{{ m.content|length }}{{ m.content[0:1] }}{% endfor %}");
    EXPECT_EQ(chat.render({{"user", " \xff" "a\x80 "}}).text, "\xff" "A\x80" "5 ");
}

}  // namespace
}  // namespace tern::test
