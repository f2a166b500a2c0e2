// tern run: text, JSON, limits, and what must not change it.
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/tiny_model.h"
#include "support/reference_data.h"

namespace tern::test {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> keys(const Json& object) {
    std::vector<std::string> out;
    for (const auto& [key, value] : object.items()) out.push_back(key);
    return out;
}

class Run : public CommandTest {
protected:
    Run() { tiny_model().write(path("m.gguf")); }
    // tern run --raw -m m.gguf, then these.
    Outcome run(std::vector<std::string> more, const Io& io = {}) const {
        std::vector<std::string> call{"run", "--raw", "-m", path("m.gguf")};
        call.insert(call.end(), more.begin(), more.end());
        return tern(call, io);
    }
    Json json(std::vector<std::string> more) const {
        more.push_back("--json");
        const Outcome o = run(more);
        EXPECT_TRUE(done(o));
        EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 1) << o.out;
        return Json::parse(o.out, nullptr, false);
    }
};

TEST_F(Run, JsonFields) {
    const Json j = json({"-n", "12", "--temp", "0", "ab c"});
    EXPECT_EQ(keys(j), (std::vector<std::string>{"prompt_tokens", "tokens", "text", "finish_reason", "timings"}));
    EXPECT_EQ(keys(j["timings"]), (std::vector<std::string>{"load_ms", "prompt_ms", "prompt_tokens_per_second",
                                                            "first_token_ms", "tokens_per_second"}));
    const auto tokens = j["tokens"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokens.size(), 12u);
    for (const TokenId id : tokens) EXPECT_TRUE(id >= 0 && id < static_cast<TokenId>(kTinyVocabulary));
    EXPECT_EQ(j["finish_reason"], "length");
    EXPECT_TRUE(j["text"].is_string());
    for (const auto& [key, value] : j["timings"].items()) {
        ASSERT_TRUE(value.is_number()) << key;
        EXPECT_GE(value.get<double>(), 0) << key;
    }
    const auto file = gguf::File::open(path("m.gguf"));
    EXPECT_EQ(j["prompt_tokens"].get<std::vector<TokenId>>(), Tokenizer::from_gguf(file).encode("ab c"));
}

TEST_F(Run, StdoutIsTheTextAndNothingElse) {
    const std::vector<std::string> call{"-n", "40", "--temp", "0", "ab c"};
    const Outcome o = run(call);
    EXPECT_TRUE(done(o));
    EXPECT_EQ(o.out, json(call)["text"].get<std::string>() + "\n");
    // Timings and logs go to stderr.
    std::vector<std::string> verbose = call;
    verbose.push_back("-v");
    const Outcome loud = run(verbose);
    EXPECT_EQ(loud.exit_status, 0);
    EXPECT_EQ(loud.out, o.out);
    EXPECT_NE(loud.err.find("tern: "), std::string::npos);
}

TEST_F(Run, PromptFromArgumentStdinAndIds) {
    const Json whole = json({"-n", "9", "--temp", "0", "ab c"});
    const Outcome in = run({"-n", "9", "--temp", "0"}, {.in = "ab c\n"});
    EXPECT_TRUE(done(in));
    EXPECT_EQ(in.out, whole["text"].get<std::string>() + "\n");
    EXPECT_EQ(run({"-n", "9", "--temp", "0", "-"}, {.in = "ab c"}).out, in.out);
    std::string ids;
    for (const TokenId id : whole["prompt_tokens"].get<std::vector<TokenId>>())
        ids += (ids.empty() ? "" : ",") + std::to_string(id);
    const Json by_ids = json({"-n", "9", "--temp", "0", "--ids", ids});
    EXPECT_EQ(by_ids["prompt_tokens"], whole["prompt_tokens"]);
    EXPECT_EQ(by_ids["tokens"], whole["tokens"]);
}

TEST_F(Run, TheSameTokensAgain) {
    for (const std::vector<std::string>& how :
         {std::vector<std::string>{"--temp", "0"}, {"--temp", "1.2", "--seed", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0"},
          {"--temp", "0", "--kv-type", "q8_0"}}) {
        std::vector<std::string> call{"-n", "60", "abcab"};
        call.insert(call.end(), how.begin(), how.end());
        const Json first = json(call);
        EXPECT_EQ(json(call)["tokens"], first["tokens"]);
        for (const char* isa : {"scalar", "avx2", "avxvnni", "avx512", "neon"}) {
            std::vector<std::string> forced = call;
            forced.insert(forced.end(), {"--isa", isa, "--json"});
            const Outcome o = run(forced);
            if (o.exit_status == 1 && o.err.find("not on this CPU") != std::string::npos) continue;
            ASSERT_TRUE(done(o)) << isa;
            EXPECT_EQ(Json::parse(o.out)["tokens"], first["tokens"]) << isa;
        }
        for (const char* threads : {"1", "2", "4"}) {
            std::vector<std::string> forced = call;
            forced.insert(forced.end(), {"-t", threads});
            EXPECT_EQ(json(forced)["tokens"], first["tokens"]) << threads << " threads";
        }
        std::vector<std::string> reference = call;
        reference.insert(reference.end(), {"--backend", "ref"});
        EXPECT_EQ(json(reference)["tokens"], first["tokens"]);
    }
}

// A prompt long enough for its products to be OpenBLAS's.
TEST_F(Run, BackendBlas) {
    const std::string prompt(60, 'a');
    const Outcome o = run({"--raw", "-n", "3", "--temp", "0", "--backend", "blas", "-v", prompt});
    if (!TERN_HAVE_OPENBLAS) {
        EXPECT_TRUE(failed(o, 1, {"blas", "libopenblas-dev", "cpu"}));
        return;
    }
    EXPECT_EQ(o.exit_status, 0);
    EXPECT_NE(o.err.find("tern: blas, "), std::string::npos) << o.err;
    EXPECT_NE(o.err.find("OpenBLAS "), std::string::npos) << o.err;
    EXPECT_FALSE(o.out.empty());
}

TEST_F(Run, SaysWhichInstructionSetItRuns) {
    int forced = 0;
    for (const std::string isa : {"scalar", "avx2", "avxvnni", "avx512", "neon"}) {
        const Outcome o = run({"-n", "1", "--isa", isa, "-t", "3", "-v", "a"});
        if (o.exit_status == 1 && o.err.find("not on this CPU") != std::string::npos) continue;
        EXPECT_EQ(o.exit_status, 0);
        EXPECT_NE(o.err.find("3 threads, " + isa + ":"), std::string::npos) << o.err;
        ++forced;
    }
    EXPECT_GE(forced, 1);
}

TEST_F(Run, SeedsDiffer) {
    const std::vector<std::string> call{"-n", "60", "--temp", "1.5", "--top-k", "0", "--top-p", "1", "--min-p", "0", "abc"};
    std::vector<std::string> one = call, two = call;
    one.insert(one.end(), {"--seed", "1"});
    two.insert(two.end(), {"--seed", "2"});
    EXPECT_NE(json(one)["tokens"], json(two)["tokens"]);
}

TEST_F(Run, Limits) {
    EXPECT_EQ(json({"-n", "1", "--temp", "0", "a"})["tokens"].size(), 1u);
    // A prompt that does not fit is refused with the numbers, before anything is computed.
    EXPECT_TRUE(failed(run({"-n", "1", "--ctx", "4", "--ids", "1,5,6,7,8"}), 1, {"4", "5"}));
    EXPECT_TRUE(failed(run({"-n", "1", "--ids", "1,5,100000"}), 1, {"100000"}));
    // A context that fills is not an error of the program: what was generated is given, and said to be cut.
    EXPECT_TRUE(failed(run({"-n", "50", "--ctx", "10", "--ids", "1,5,6,7"}), 1, {"50", "10", "at most 7", "--on-full"}));
    const Outcome full =
        run({"-n", "50", "--ctx", "10", "--on-full", "stop", "--temp", "0", "--ids", "1,5,6,7", "--json"});
    EXPECT_EQ(full.exit_status, 0);
    const Json j = Json::parse(full.out, nullptr, false);
    EXPECT_EQ(j["finish_reason"], "context_full");
    EXPECT_EQ(j["tokens"].size(), 7u);  // the last token needs no position
    EXPECT_NE(full.err.find("--ctx"), std::string::npos) << full.err;
    EXPECT_EQ(std::count(full.err.begin(), full.err.end(), '\n'), 1) << full.err;
    // The model's own context holds as well.
    std::string ids = "1";
    for (std::uint32_t i = 0; i < kTinyContext; ++i) ids += ",5";
    EXPECT_TRUE(failed(run({"-n", "1", "--ids", ids}), 1, {std::to_string(kTinyContext), std::to_string(kTinyContext + 1)}));
}

TEST_F(Run, SlidesWhenAsked) {
    const Outcome o = run({"-n", "50", "--ctx", "10", "--on-full", "slide", "--temp", "0", "--ids", "1,5,6,7", "--json"});
    EXPECT_EQ(o.exit_status, 0);
    const Json j = Json::parse(o.out, nullptr, false);
    EXPECT_EQ(j["finish_reason"], "length");
    EXPECT_EQ(j["tokens"].size(), 50u);
    EXPECT_NE(o.err.find("dropped"), std::string::npos) << o.err;
}

TEST_F(Run, EmptyPromptStillHasItsFirstToken) {
    const Json j = json({"-n", "3", "--temp", "0", ""});
    EXPECT_EQ(j["prompt_tokens"], (std::vector<TokenId>{1}));
    EXPECT_EQ(j["tokens"].size(), 3u);
}

TEST_F(Run, WorksFromAnyFolder) {
    std::filesystem::create_directory(folder_ / "elsewhere");
    const Outcome o = tern({"run", "--raw", "-m", "../m.gguf", "-n", "4", "--temp", "0", "ab"},
                           {.directory = folder_ / "elsewhere"});
    EXPECT_TRUE(done(o));
    EXPECT_EQ(o.out, run({"-n", "4", "--temp", "0", "ab"}).out);
}

// The model that is built in: any words, but the same ones.
TEST_F(Run, BuiltInModel) {
    const auto demo = std::filesystem::path(TERN_COMMAND).parent_path() / "../share/tern/tern-demo.gguf";
    if (!std::filesystem::exists(demo)) {
        EXPECT_TRUE(failed(tern({"run", "-n", "1", "a"}), 1, {"tern-demo.gguf", "-m"}));
        GTEST_SKIP() << "no built-in model at " << demo;
    }
    const std::vector<std::string> call{"run", "--raw", "-n", "16", "--temp", "0", "Once upon a time"};
    const Outcome o = tern(call);
    EXPECT_TRUE(done(o));
    EXPECT_GT(o.out.size(), 8u);
    EXPECT_EQ(tern(call).out, o.out);
}

TEST_F(Run, GivesThePeersGreedyTokens) {
    TERN_REFERENCE(model, "models/stories260k.gguf");
    const auto cases = Json::parse(test::read_file(test::reference_data() / "models/stories260k.greedy.json"));
    int compared = 0;
    for (const auto& c : cases) {
        if (c["smallest_logit_gap"].get<double>() <= 0.01) continue;  // f16 KV may turn a near tie
        ++compared;
        const Outcome o = tern({"run", "--raw", "-m", model, "-n", "200", "--temp", "0", "--json", c["prompt"]});
        ASSERT_TRUE(done(o));
        const Json j = Json::parse(o.out);
        EXPECT_EQ(j["prompt_tokens"], c["prompt_tokens"]);
        EXPECT_EQ(j["tokens"], c["tokens"]);
        EXPECT_EQ(j["text"], c["text"]);
    }
    EXPECT_GE(compared, 2);
}

}  // namespace
}  // namespace tern::test
