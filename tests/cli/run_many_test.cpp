// tern run --parallel: one answer a prompt, each as if it had been asked alone; errors stay with their line; what was
// cut off goes on.
#include <nlohmann/json.hpp>

#include <map>
#include <set>

#include "cli/live_command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

using Json = nlohmann::ordered_json;

class RunMany : public CommandTest {
protected:
    RunMany() { tiny_model().write(path("m.gguf")); }
    std::vector<std::string> call(std::vector<std::string> more) const {
        std::vector<std::string> words{"run", "--raw", "-t", "1", "-m", path("m.gguf"), "--parallel"};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    static std::map<std::uint64_t, Json> by_index(const std::string& lines) {
        std::map<std::uint64_t, Json> out;
        std::size_t begin = 0;
        while (begin < lines.size()) {
            const std::size_t end = lines.find('\n', begin);
            EXPECT_NE(end, std::string::npos) << "a torn line: " << lines.substr(begin);
            if (end == std::string::npos) break;
            const Json line = Json::parse(lines.substr(begin, end - begin), nullptr, false);
            EXPECT_TRUE(line.is_object());
            EXPECT_TRUE(out.emplace(line["index"].get<std::uint64_t>(), line).second) << "twice: " << line["index"];
            begin = end + 1;
        }
        return out;
    }
    // Short prompts, all different.
    std::string prompts(int count) const {
        std::string text;
        for (int i = 0; i < count; ++i) text += "ab" + std::to_string(i) + "c\n";
        return text;
    }
};

TEST_F(RunMany, EachAnswerIsThatOfARunAlone) {
    write_file("prompts.txt",
               "ab c\n\nabcabc\n{\"prompt\": \"c\", \"n\": 3}\n{\"prompt\": \"a\\nb\", \"seed\": 9, \"temp\": 1.5}\n{curly\r\n");
    const Outcome o = tern(call({path("prompts.txt"), "-n", "12", "--temp", "0", "--jobs", "3"}));
    ASSERT_TRUE(done(o));
    const auto lines = by_index(o.out);
    ASSERT_EQ(lines.size(), 5u);
    const std::map<std::uint64_t, std::vector<std::string>> alone = {
        {0, {"-n", "12", "--temp", "0", "ab c"}},
        {2, {"-n", "12", "--temp", "0", "abcabc"}},
        {3, {"-n", "3", "--temp", "0", "c"}},
        {4, {"-n", "12", "--temp", "1.5", "--seed", "9", "a\nb"}},
        {5, {"-n", "12", "--temp", "0", "{curly"}},
    };
    for (const auto& [index, words] : alone) {
        ASSERT_TRUE(lines.contains(index)) << index;
        std::vector<std::string> run{"run", "--raw", "-m", path("m.gguf"), "--json"};
        run.insert(run.end(), words.begin(), words.end());
        const Json one = Json::parse(tern(run).out, nullptr, false), &line = lines.at(index);
        EXPECT_EQ(line["prompt"], words.back());
        EXPECT_EQ(line["tokens"], one["tokens"]) << index;
        EXPECT_EQ(line["text"], one["text"]) << index;
        EXPECT_EQ(line["finish_reason"], "length") << index;
    }
}

TEST_F(RunMany, AnErrorIsThatPromptsOnly) {
    write_file("prompts.txt", "ab\n{\"prompt\": 7}\n" + std::string(300, 'x') + "\n{\"prompt\": \"a\", \"n\": -1}\nc\n");
    const Outcome o = tern(call({path("prompts.txt"), "-n", "4"}));
    EXPECT_TRUE(failed(o, 1, {"3 of the prompts"}, false));
    const auto lines = by_index(o.out);
    ASSERT_EQ(lines.size(), 5u);
    for (const std::uint64_t good : {0, 4}) {
        EXPECT_EQ(lines.at(good)["tokens"].size(), 4u);
        EXPECT_FALSE(lines.at(good).contains("error"));
    }
    for (const std::uint64_t bad : {1, 2, 3}) EXPECT_FALSE(lines.at(bad).contains("text"));
    EXPECT_NE(lines.at(1)["error"].get<std::string>().find("prompt"), std::string::npos);
    EXPECT_NE(lines.at(2)["error"].get<std::string>().find(std::to_string(kTinyContext)), std::string::npos);
    EXPECT_NE(lines.at(3)["error"].get<std::string>().find("\"n\""), std::string::npos);
}

TEST_F(RunMany, GoesOnAfterAKill) {
    write_file("prompts.txt", prompts(120));
    const std::vector<std::string> options{"-n", "60", "--jobs", "4", "--kv-memory", "256K"};
    std::vector<std::string> words{path("prompts.txt"), "--out", path("whole.jsonl")};
    words.insert(words.end(), options.begin(), options.end());
    ASSERT_TRUE(done(tern(call(words))));
    const auto whole = by_index(read_file(path("whole.jsonl")));
    ASSERT_EQ(whole.size(), 120u);

    words[2] = path("cut.jsonl");
    int cut = 0;
    for (int lines = 20; lines <= 60; lines += 20) {
        LiveCommand live(call(words));
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        std::string text;
        do {
            usleep(2000);
            text = read_file(path("cut.jsonl"));
        } while (std::count(text.begin(), text.end(), '\n') < lines && std::chrono::steady_clock::now() < end);
        live.signal(SIGKILL);
        cut += live.wait() == -SIGKILL;
    }
    EXPECT_GE(cut, 1) << "it was never killed in the middle";
    // As if the last kill had come within a line.
    const std::string before = read_file(path("cut.jsonl"));
    ASSERT_LT(std::count(before.begin(), before.end(), '\n'), 120);
    std::ofstream(path("cut.jsonl"), std::ios::app | std::ios::binary) << "{\"index\":119,\"prompt\":\"ab11";
    const Outcome last = tern(call(words));
    EXPECT_EQ(last.exit_status, 0) << last.err;
    EXPECT_NE(last.err.find("there already"), std::string::npos);
    const std::string after = read_file(path("cut.jsonl"));
    EXPECT_TRUE(after.starts_with(before));
    EXPECT_EQ(by_index(after), whole);
    // And once more there is nothing to do.
    EXPECT_EQ(tern(call(words)).exit_status, 0);
    EXPECT_EQ(read_file(path("cut.jsonl")), after);
}

TEST_F(RunMany, RefusesAFileOfSomethingElse) {
    write_file("prompts.txt", prompts(3));
    write_file("notes.txt", "buy milk\n");
    EXPECT_TRUE(failed(tern(call({path("prompts.txt"), "--out", path("notes.txt")})), 1, {"notes.txt", "line 1"}));
    EXPECT_EQ(read_file(path("notes.txt")), "buy milk\n");
    EXPECT_EQ(tern(call({path("prompts.txt"), "-n", "2", "--out", path("out.jsonl")})).exit_status, 0);
    write_file("others.txt", "other\n");
    const std::string before = read_file(path("out.jsonl"));
    const Outcome o = tern(call({path("others.txt"), "-n", "2", "--out", path("out.jsonl")}));
    EXPECT_EQ(o.exit_status, 1);
    EXPECT_NE(o.err.find("another prompt at index 0"), std::string::npos) << o.err;
    EXPECT_EQ(read_file(path("out.jsonl")), before);
    EXPECT_TRUE(failed(tern(call({path("missing.txt")})), 1, {"missing.txt"}));
    EXPECT_TRUE(failed(tern(call({path("")})), 1, {"folder"}));
}

TEST_F(RunMany, CtrlCLeavesWholeLines) {
    write_file("prompts.txt", prompts(2000));
    LiveCommand live(call({path("prompts.txt"), "-n", "100", "--jobs", "2"}));
    ASSERT_TRUE(live.read_until([&] { return std::count(live.out.begin(), live.out.end(), '\n') >= 3; }));
    live.signal(SIGINT);
    EXPECT_EQ(live.wait(), 130);
    const auto lines = by_index(live.out);
    EXPECT_GE(lines.size(), 3u);
    EXPECT_LT(lines.size(), 2000u);
    for (const auto& [index, line] : lines) EXPECT_EQ(line["finish_reason"], "length") << index;
}

// Much more than is submitted at once, from stdin.
TEST_F(RunMany, ManyPromptsFromStdin) {
    const Outcome o = tern(call({"-", "-n", "1", "--jobs", "2"}), {.in = prompts(3000)});
    ASSERT_TRUE(done(o));
    EXPECT_EQ(by_index(o.out).size(), 3000u);
}

}  // namespace
}  // namespace tern::test
