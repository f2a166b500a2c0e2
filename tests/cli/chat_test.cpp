// tern chat: turns that share what was computed, commands, Ctrl-C, a full context, save and load.
#include <nlohmann/json.hpp>

#include "cli/live_command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

using Json = nlohmann::ordered_json;

const char* const kTemplate =
    "{% for m in messages %}{{ '<mark>' }}{{ m.role }}:{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<mark>assistant:' }}{% endif %}";

class ChatCommand : public CommandTest {
protected:
    ChatCommand() { TinyModel(512, kTemplate).write(path("m.gguf")); }
    std::vector<std::string> call(std::vector<std::string> more = {}) const {
        std::vector<std::string> words{"chat", "-t", "1", "-m", path("m.gguf"), "--temp", "0"};
        words.insert(words.end(), more.begin(), more.end());
        return words;
    }
    // The numbers of the n-th line of /stats: prompt, cached, generated, used, context.
    static std::vector<unsigned> stats(const std::string& err, int which = 0) {
        std::size_t at = err.find("tern: prompt ");
        while (which-- > 0 && at != err.npos) at = err.find("tern: prompt ", at + 1);
        std::vector<unsigned> out(5);
        double first = 0, rate = 0;
        if (at == err.npos || std::sscanf(err.c_str() + at,
                                          "tern: prompt %u tokens, %u of them cached · first token %lf ms · %u tokens, "
                                          "%lf/s · context %u of %u",
                                          &out[0], &out[1], &first, &out[2], &rate, &out[3], &out[4]) != 7)
            ADD_FAILURE() << "no such line of /stats in " << err;
        return out;
    }
    // A model whose answers take long.
    void write_slow_model() const { TinyModel(100000, kTemplate).write(path("slow.gguf")); }
};

TEST_F(ChatCommand, ASecondTurnComputesOnlyWhatIsNew) {
    const Outcome o = tern(call({"-n", "40"}), {.in = "abc ab\n/stats\nab c\n/stats\n"});
    EXPECT_EQ(o.exit_status, 0) << o.err;
    const auto one = stats(o.err, 0), two = stats(o.err, 1);
    EXPECT_EQ(one[1], 0u);
    EXPECT_EQ(one[2], 40u);
    EXPECT_EQ(one[3], one[0] + 40);
    EXPECT_EQ(one[4], 512u);
    EXPECT_GT(two[0], one[0]);
    EXPECT_GT(two[1], 0u);
    EXPECT_LT(two[1], two[0]);
    // The answers alone are on stdout.
    EXPECT_EQ(o.out.find("tern:"), std::string::npos);
    EXPECT_EQ(o.out.find("> "), std::string::npos);
}

TEST_F(ChatCommand, BuiltInModel) {
    const auto demo = std::filesystem::path(TERN_COMMAND).parent_path() / "../share/tern/tern-demo.gguf";
    if (!std::filesystem::exists(demo)) GTEST_SKIP() << "no built-in model at " << demo;
    const Outcome o = tern({"chat", "--temp", "0"}, {.in = "What is 7 + 5?\nOnce upon a time\nWhat is 7 + 5?\n/stats\n"});
    EXPECT_EQ(o.exit_status, 0) << o.err;
    EXPECT_TRUE(o.out.starts_with("7 + 5 = 12\n")) << o.out;
    EXPECT_GT(stats(o.err)[1], 0u);
}

TEST_F(ChatCommand, Commands) {
    const Outcome help = tern(call(), {.in = "/help\n/fly\n/regen\n/save\n/exit\nab\n"});
    EXPECT_EQ(help.exit_status, 0);
    EXPECT_EQ(help.out, "");
    for (const char* name : {"/help", "/clear", "/system", "/regen", "/save", "/load", "/stats", "/exit"})
        EXPECT_NE(("\n" + help.err).find(std::string("\n") + name + " "), std::string::npos) << name;
    EXPECT_NE(help.err.find("/fly is no command"), std::string::npos);

    // A cleared conversation answers as a new one, and instructions count.
    const std::string first = tern(call({"-n", "8"}), {.in = "ab\n"}).out;
    EXPECT_EQ(tern(call({"-n", "8"}), {.in = "abc\n/clear\nab\n"}).out,
              tern(call({"-n", "8"}), {.in = "abc\n"}).out + first);
    EXPECT_EQ(tern(call({"-n", "8"}), {.in = "/system abcc\nab\n"}).out,
              tern(call({"-n", "8", "--system", "abcc"}), {.in = "ab\n"}).out);
    // Greedy answers are the same again; others draw anew.
    EXPECT_EQ(tern(call({"-n", "8"}), {.in = "ab\n/regen\n"}).out, first + first);
    const std::vector<std::string> warm{"chat", "-t", "1", "-m", path("m.gguf"), "-n", "8", "--temp", "2", "--top-k", "0",
                                        "--top-p", "1", "--min-p", "0"};
    const std::string twice = tern(warm, {.in = "ab\n/regen\n"}).out, once = tern(warm, {.in = "ab\n"}).out;
    ASSERT_FALSE(once.empty());
    ASSERT_TRUE(twice.starts_with(once));
    EXPECT_NE(twice, once + once);
}

TEST_F(ChatCommand, SavedAndLoaded) {
    const Outcome whole = tern(call({"-n", "60"}), {.in = "abc ab\nab c\n"});
    const Outcome saved = tern(call({"-n", "60"}), {.in = "abc ab\n/save " + path("talk") + "\n"});
    EXPECT_EQ(saved.exit_status, 0) << saved.err;
    const std::string text = read_file(path("talk"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
    EXPECT_EQ(Json::parse(text.substr(0, text.find('\n'))), (Json{{"role", "user"}, {"content", "abc ab"}}));
    const Outcome loaded = tern(call({"-n", "60"}), {.in = "/load " + path("talk") + "\nab c\n/stats\n"});
    EXPECT_EQ(loaded.exit_status, 0) << loaded.err;
    EXPECT_EQ(saved.out + loaded.out, whole.out);
    EXPECT_GT(stats(loaded.err)[1], 32u) << loaded.err;

    // Without the cache, or with one of another KV type, it is computed: the same answer.
    const Outcome other = tern(call({"-n", "60", "--kv-type", "f32", "--load", path("talk")}), {.in = "ab c\n"});
    EXPECT_EQ(other.exit_status, 0);
    EXPECT_NE(other.err.find("computed again"), std::string::npos) << other.err;
    std::filesystem::remove(path("talk.kv"));
    const Outcome cold = tern(call({"-n", "60", "--load", path("talk")}), {.in = "ab c\n/stats\n"});
    EXPECT_EQ(cold.out, loaded.out);
    EXPECT_EQ(stats(cold.err)[1], 0u);

    // What is no conversation changes nothing.
    write_file("bad", "{\"role\": \"user\"}\n");
    const Outcome bad = tern(call({"-n", "60"}), {.in = "abc ab\n/load " + path("bad") + "\nab c\n"});
    EXPECT_EQ(bad.exit_status, 0);
    EXPECT_NE(bad.err.find("line 1"), std::string::npos);
    EXPECT_EQ(bad.out, whole.out);
}

TEST_F(ChatCommand, AFullContextKeepsTheConversation) {
    const Outcome o = tern(call({"--ctx", "100", "-n", "70"}),
                           {.in = "ab\n" + std::string(60, 'c') + "\n/save " + path("talk") + "\n"});
    EXPECT_EQ(o.exit_status, 0) << o.err;
    for (const char* part : {"100", "/clear", "--ctx", "not taken up"})
        EXPECT_NE(o.err.find(part), std::string::npos) << part << "\n" << o.err;
    const std::string text = read_file(path("talk"));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
    // An answer that reaches the end stays as far as it came.
    const Outcome cut = tern(call({"--ctx", "100"}), {.in = "ab\n/save " + path("cut") + "\n"});
    EXPECT_NE(cut.err.find("the context is full"), std::string::npos) << cut.err;
    const std::string kept = read_file(path("cut"));
    EXPECT_EQ(Json::parse(kept.substr(kept.find('\n') + 1))["content"].get<std::string>() + "\n", cut.out);
}

TEST_F(ChatCommand, CtrlCStopsTheAnswerAndNotTheProgram) {
    write_slow_model();
    LiveCommand live({"chat", "-m", path("slow.gguf"), "--temp", "0", "-t", "1", "--ctx", "50000"});
    live.type("ab\n");
    ASSERT_TRUE(live.read_until([&] { return live.out.size() > 20; })) << live.err;
    live.signal(SIGINT);
    ASSERT_TRUE(live.err_has("stopped")) << live.err;
    live.type("/stats\n");
    ASSERT_TRUE(live.err_has("tern: prompt ")) << live.err;
    live.close_input();
    EXPECT_EQ(live.wait(), 0);
}

TEST_F(ChatCommand, OnATerminal) {
    LiveCommand live(call({"-n", "5"}), true);
    ASSERT_TRUE(live.err_has("> ")) << live.err;
    live.type("abq\x7f" "c\n");  // corrected with backspace
    ASSERT_TRUE(live.read_until([&] { return live.out.find('\n') != std::string::npos; })) << live.err;
    EXPECT_EQ(live.out, tern(call({"-n", "5"}), {.in = "abc\n"}).out);
    // Ctrl-C drops the line: it is not said.
    live.type("never\x03");
    ASSERT_TRUE(live.err_has("^C")) << live.err;
    live.type("/save " + path("talk") + "\n");
    ASSERT_TRUE(live.err_has("saved 2 messages")) << live.err;
    ASSERT_TRUE(live.read_until([&] { return live.err.ends_with("> "); })) << live.err;
    live.type("\x04");
    EXPECT_EQ(live.wait(), 0);
    EXPECT_EQ(read_file(path("talk")).find("never"), std::string::npos);
}

// Each message is a line; run says and does the same.
TEST_F(ChatCommand, WithoutATemplateTheMessagesArePlainText) {
    tiny_model().write(path("plain.gguf"));
    const Outcome chat = tern({"chat", "-m", path("plain.gguf"), "-n", "5", "--temp", "0"}, {.in = "ab\n"});
    EXPECT_EQ(chat.exit_status, 0) << chat.err;
    EXPECT_NE(chat.err.find("no chat template"), std::string::npos) << chat.err;
    const Outcome run = tern({"run", "-m", path("plain.gguf"), "-n", "5", "--temp", "0", "--raw", "ab\n"});
    EXPECT_EQ(chat.out, run.out);
}

}  // namespace
}  // namespace tern::test
