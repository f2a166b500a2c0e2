// The templates of real models, rendered as Python's Jinja2 renders them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <tern/chat.h>
#include <tern/error.h>

#include "tests/support/reference_data.h"

namespace tern::test {
namespace {

TEST(ChatReference, RealTemplates) {
    TERN_REFERENCE(folder, "templates");
    const auto cases = nlohmann::ordered_json::parse(read_file(folder / "cases.json"));
    const auto expected = nlohmann::ordered_json::parse(read_file(folder / "expected.json"));
    std::size_t compared = 0;
    for (const auto& [name, results] : expected.items()) {
        const ChatTemplate chat(read_file(folder / (name + ".jinja")), {"<BOS>", "<EOS>"});
        for (const auto& [key, result] : results.items()) {
            SCOPED_TRACE(name + ": " + key);
            const std::string messages = cases.at(key).dump();
            ++compared;
            if (result.contains("error")) {
                EXPECT_THROW(chat.render_json(messages, {.now = "2026-01-15T12:00:00"}), Error);
            } else {
                EXPECT_EQ(chat.render_json(messages, {.now = "2026-01-15T12:00:00"}).text,
                          result.at("text").get<std::string>());
            }
        }
    }
    EXPECT_GT(compared, 0u);
}

}  // namespace
}  // namespace tern::test
