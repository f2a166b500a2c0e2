// Generation beyond the windows of models that have them.
#include <algorithm>
#include <cmath>

#include "engine/support.h"
#include "models/changed_file.h"

namespace tern::test {
namespace {

class BeyondWindows : public testing::TestWithParam<const char*> {};

// docs/numerics.md, "Scores of tokens".
float logprob(std::span<const float> row, TokenId token) {
    double max = -INFINITY, sum = 0;
    for (const float x : row) max = std::max(max, static_cast<double>(x));
    for (const float x : row) sum += std::exp(static_cast<double>(x) - max);
    return static_cast<float>(static_cast<double>(row[static_cast<std::size_t>(token)]) - (max + std::log(sum)));
}

TEST_P(BeyondWindows, TheEngineGivesTheLogitsOfASession) {
    TERN_REFERENCE(path, std::string("arch/") + GetParam() + ".gguf");
    const auto file = gguf::File::open(path);
    const std::string key = std::string(file.get("general.architecture").as_string()) + ".attention.sliding_window";
    Change change;
    if (!file.find(key)) change.add = [&](gguf::Writer& w) { w.add_u32(key, 24); };
    const std::vector<std::byte> bytes = changed(file, change);
    const Model model = Model::load(Runtime({.threads = 2}), gguf::File::parse(bytes, "windows.gguf"));
    constexpr std::uint32_t kPrompt = 40, kNew = 200, kContext = 256;  // four pages, and windows of less than one

    Request request = ids(some_tokens(kPrompt, 9, 320), kNew);
    request.sampling.temperature = 0;
    Engine engine(model, {.context = kContext, .kv_type = KvType::f32, .prefix_cache = false});
    std::uint32_t most_taken = 0, groups = 0;
    Answer got;
    {
        const EngineStatus empty = engine.status();
        groups = static_cast<std::uint32_t>(empty.pages / (kContext / 64));
        Reply reply = engine.submit(request);
        while (const auto piece = reply.next()) {
            got.tokens.insert(got.tokens.end(), piece->tokens.begin(), piece->tokens.end());
            for (const TokenScore& s : piece->scores) got.scores.push_back(s.logprob);
            const EngineStatus now = engine.status();
            most_taken = std::max(most_taken, static_cast<std::uint32_t>(now.pages - now.pages_free));
        }
    }
    ASSERT_EQ(got.tokens.size(), kNew);
    // Some group has no window here, except in phi3, whose layers are alike.
    EXPECT_LT(most_taken, groups * (kContext / 64)) << "no page was freed behind a window";

    std::vector<TokenId> all = request.prompt_tokens;
    all.insert(all.end(), got.tokens.begin(), got.tokens.end() - 1);
    for (const std::size_t chunk : {1u, 7u, 64u}) {
        Session session(model, {.context = kContext, .kv_type = KvType::f32, .batch = 64});
        for (std::size_t i = 0; i < all.size(); i += chunk) {
            const std::size_t n = std::min(chunk, all.size() - i);
            const Append item{.tokens = std::span(all).subspan(i, n), .all_logits = true};
            const auto rows = session.eval(std::span(&item, 1));
            const std::size_t vocab = rows.size() / n;
            for (std::size_t r = 0; r < n; ++r) {
                if (i + r + 1 < kPrompt) continue;
                const std::size_t at = i + r + 1 - kPrompt;
                const auto row = rows.subspan(r * vocab, vocab);
                const auto best = static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin());
                ASSERT_EQ(got.tokens[at], best) << "token " << at << ", chunks of " << chunk;
                const float score = logprob(row, best);
                ASSERT_EQ(std::memcmp(&score, &got.scores[at], sizeof score), 0) << "token " << at << ", chunks of " << chunk;
            }
        }
    }
}

// A context slides only where all keys can be rotated to other positions: not behind windows, not with learned positions,
// layers without positions, or angles that depend on the context.
TEST(Windows, WhatCannotSlideSaysSo) {
    for (const char* name : {"gemma2", "gpt2", "smollm3", "phi3", "qwen2"}) {
        TERN_REFERENCE(path, std::string("arch/") + name + ".gguf");
        Engine engine(Model::load(Runtime({.threads = 1}), path), {.context = 128});
        Request request = ids(some_tokens(120, 3, 320), 20);
        request.when_full = ContextPolicy::slide;
        if (name == std::string("qwen2")) {
            EXPECT_EQ(answer(engine.submit(request)).tokens.size(), 20u);
            continue;
        }
        try {
            (void)engine.submit(request);
            ADD_FAILURE() << name << " was accepted";
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::unsupported) << name;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Models, BeyondWindows, testing::Values("gemma2", "gemma3", "gpt-oss", "phi3", "olmo2"), [](const auto& p) {
    std::string name = p.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

}  // namespace
}  // namespace tern::test
