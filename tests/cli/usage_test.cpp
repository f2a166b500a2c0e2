// Exit statuses, help, errors on one line.
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/tiny_model.h"

namespace tern::test {
namespace {

const char* const kCommands[] = {"run", "chat", "plan", "tokenize", "logits", "inspect", "bench",
                                 "render", "embed", "verify"};

TEST(Usage, HelpFitsAScreenAndShowsAnExample) {
    std::vector<std::vector<std::string>> calls{{"--help"}, {"-h"}};
    for (const char* command : kCommands) calls.push_back({command, "--help"});
    for (const auto& call : calls) {
        const Outcome o = tern(call);
        EXPECT_TRUE(done(o)) << call[0];
        EXPECT_NE(o.out.find("Example:\n  tern "), std::string::npos) << o.out;
        EXPECT_LE(std::count(o.out.begin(), o.out.end(), '\n'), 40) << call[0];
        if (call.size() == 1) {
            for (const char* command : kCommands) EXPECT_NE(o.out.find(command), std::string::npos) << command;
        }
    }
}

TEST(Usage, Version) {
    const Outcome o = tern({"--version"});
    EXPECT_TRUE(done(o));
    EXPECT_TRUE(o.out.starts_with("tern ")) << o.out;
    EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 1);
}

TEST(Usage, WrongUsageIsStatusTwoAndPointsToTheHelp) {
    const std::vector<std::vector<std::string>> wrong = {
        {},
        {"--no-such-option"},
        {"fly"},
        {"run", "--no-such-option", "x"},
        {"run", "-n", "0", "x"},
        {"run", "-n", "-3", "x"},
        {"run", "-n", "many", "x"},
        {"run", "-n", "4294967296", "x"},
        {"run", "-t", "0", "x"},
        {"run", "-t", "100000", "x"},
        {"run", "--temp", "warm", "x"},
        {"run", "--seed", "dice", "x"},
        {"run", "--kv-type", "q4_1", "x"},
        {"run", "--ids", "1,2", "x"},
        {"run", "--ids", "1,,2"},
        {"run", "--ids", "1,two"},
        {"run", "--ids", "-1"},
        {"run", "--ids", "99999999999999999999"},
        {"run", "one", "two"},
        {"run", "--on-full", "fly", "x"},
        {"run", "--memory", "much", "x"},
        {"run", "--parallel", "a", "x"},
        {"run", "--out", "a", "x"},
        {"run", "--parallel", "a", "--jobs", "0"},
        {"chat", "hello"},
        {"plan", "--ctx", "0"},
        {"plan", "--parallel", "0"},
        {"plan", "--budget", "8 gigs"},
        {"tokenize", "--file", "a", "b"},
        {"logits"},
        {"logits", "--tokens", "a"},
        {"logits", "--out", "a"},
        {"logits", "--tokens", "a", "--out", "b", "--chunk", "0"},
        {"logits", "--tokens", "a", "--out", "b", "--kv-type", "f64"},
        {"inspect"},
        {"bench", "-r", "0"},
        {"bench", "-b", "0"},
        {"bench", "-p", "0", "-n", "0"},
        {"bench", "--format", "Q8_0"},
        {"bench", "--shape", "tiny-110m", "-m", "x.gguf"},
    };
    for (const auto& call : wrong) {
        const Outcome o = tern(call);
        std::string text;
        for (const std::string& word : call) text += " " + word;
        EXPECT_TRUE(failed(o, 2, {"tern", "--help"})) << "tern" << text;
    }
}

class Failures : public CommandTest {};

TEST_F(Failures, AnUnwritableStderrChangesNoStatus) {
    EXPECT_EQ(tern({"fly"}, {.err = Stream::closed}).exit_status, 2);
    EXPECT_EQ(tern({"inspect", path("missing.gguf")}, {.err = Stream::closed}).exit_status, 1);
}

// Every command, every kind of file that is no model: status 1 and one line that names the file.
TEST_F(Failures, FilesThatAreNoModels) {
    tiny_model().write(path("cut.gguf"), tiny_model().bytes().size() / 2);
    tiny_model().write(path("head.gguf"), 200);
    std::string noise(5000, '\0');
    std::mt19937 random(3);
    for (char& c : noise) c = static_cast<char>(random());
    write_file("empty.gguf", "");
    write_file("noise.gguf", noise);
    write_file("magic.gguf", "GGUF");
    write_file("text.gguf", "Once upon a time\n");
    write_file("ids.txt", "1 4 5\n");
    std::filesystem::create_directory(folder_ / "folder.gguf");
    mkfifo(path("pipe.gguf").c_str(), 0600);
    for (const char* name : {"missing.gguf", "empty.gguf", "noise.gguf", "magic.gguf", "text.gguf", "folder.gguf",
                             "head.gguf", "cut.gguf"}) {
        const std::string file = path(name);
        EXPECT_TRUE(failed(tern({"run", "--raw", "-m", file, "-n", "1", "a"}), 1, {name}));
        EXPECT_TRUE(failed(tern({"logits", "-m", file, "--tokens", path("ids.txt"), "--out", path("out")}), 1, {name}));
        EXPECT_TRUE(failed(tern({"bench", "-m", file, "-p", "1", "-n", "1"}), 1, {name}));
        if (std::string_view(name) == "cut.gguf") continue;  // its directory is whole: text needs no more
        EXPECT_TRUE(failed(tern({"tokenize", "-m", file, "a"}), 1, {name}));
        EXPECT_TRUE(failed(tern({"inspect", file}), 1, {name}));
        EXPECT_TRUE(failed(tern({"inspect", "--json", file}), 1, {name}));
    }
    EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(Failures, ATruncatedFileStillShowsItsDirectory) {
    tiny_model().write(path("cut.gguf"), tiny_model().bytes().size() / 2);
    const Outcome o = tern({"inspect", path("cut.gguf")});
    EXPECT_TRUE(failed(o, 1, {"cut.gguf"}, false));
    EXPECT_NE(o.out.find("blk.1.ffn_down.weight"), std::string::npos);
    EXPECT_TRUE(done(tern({"tokenize", "-m", path("cut.gguf"), "a"})));
}

TEST_F(Failures, UnknownBackendAndInstructionSet) {
    tiny_model().write(path("m.gguf"));
    EXPECT_TRUE(failed(tern({"run", "--raw", "-m", path("m.gguf"), "--isa", "sse9", "-n", "1", "a"}), 1, {"sse9", "scalar"}));
    EXPECT_TRUE(failed(tern({"run", "--raw", "-m", path("m.gguf"), "--backend", "abacus", "-n", "1", "a"}), 1, {"abacus", "cpu"}));
}

// What a file says must not steer the terminal, nor make the error two lines.
TEST_F(Failures, ControlCharactersAreEscaped) {
    EXPECT_TRUE(failed(tern({"inspect", path("a\x1b[31m\nb.gguf")}), 1, {"a\\x1b[31m\\x0ab.gguf"}));
}

TEST_F(Failures, OutputThatCannotBeWritten) {
    tiny_model().write(path("m.gguf"));
    const std::vector<std::string> run{"run", "--raw", "-m", path("m.gguf"), "-n", "40", "--temp", "0", "ab"};
    const std::vector<std::string> inspect{"inspect", path("m.gguf")};
    const std::vector<std::string> tokenize{"tokenize", "-m", path("m.gguf"), "ab"};
    for (const auto& call : {run, inspect, tokenize, std::vector<std::string>{"--help"}}) {
        EXPECT_TRUE(failed(tern(call, {.out = Stream::full}), 1, {"standard output"})) << call[0];
        EXPECT_TRUE(failed(tern(call, {.out = Stream::closed}), 1, {"standard output"})) << call[0];
        // A reader that has gone ends the program as it ends others, or as an error where SIGPIPE is ignored.
        const Outcome gone = tern(call, {.out = Stream::reader_gone});
        EXPECT_TRUE(gone.signal == SIGPIPE || failed(gone, 1, {"standard output"})) << call[0] << gone.err;
        EXPECT_TRUE(failed(tern(call, {.out = Stream::reader_gone, .ignore_sigpipe = true}), 1, {"standard output"}))
            << call[0];
    }
}

}  // namespace
}  // namespace tern::test
