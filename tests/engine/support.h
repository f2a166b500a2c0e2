// What the tests of the engine share.
#pragma once

#include <gtest/gtest.h>
#include <tern/tern.h>

#include <cstring>
#include <list>
#include <string>
#include <vector>

#include "models/tiny_model.h"
#include "support/reference_data.h"
#include "support/sanitizer.h"

namespace tern::test {

// A model of random weights with ten tokens, made in memory.
inline Model tiny(unsigned threads = 2, std::uint32_t context = 1024, std::uint32_t layers = 2, std::uint64_t budget = 0) {
    TinyModel m = tiny_model(0, DType::F32, layers);
    m.set("llama.context_length", TinyModel::u32(context));
    // The model reads its weights where they lie.
    static std::list<std::vector<std::byte>> files;
    files.push_back(m.bytes());
    return Model::load(Runtime({.threads = threads, .memory_budget = budget}), gguf::File::parse(files.back(), "tiny.gguf"));
}

// A request of token ids that never ends by itself, with the scores of what it draws.
inline Request ids(std::vector<TokenId> prompt, std::uint32_t n, std::uint64_t seed = 0) {
    Request r;
    r.prompt_tokens = std::move(prompt);
    r.max_tokens = n;
    r.sampling.temperature = 1;
    r.sampling.top_k = 0;
    r.sampling.top_p = 1;
    r.sampling.min_p = 0;
    r.sampling.seed = seed;
    r.ignore_end = true;
    r.logprobs = 2;
    return r;
}

inline std::vector<TokenId> some_tokens(std::size_t n, unsigned seed, unsigned vocab) {
    std::vector<TokenId> tokens{1};
    while (tokens.size() < n) {
        seed = seed * 1664525u + 1013904223u;
        tokens.push_back(static_cast<TokenId>(3 + (seed >> 8) % (vocab - 3)));
    }
    return tokens;
}

// All that a request gave: tokens, and scores bit by bit.
struct Answer {
    std::string text{};
    std::vector<TokenId> tokens{};
    std::vector<float> scores{};
    FinishReason reason{};

    bool operator==(const Answer& o) const {
        return text == o.text && tokens == o.tokens && reason == o.reason && scores.size() == o.scores.size() &&
               std::memcmp(scores.data(), o.scores.data(), scores.size() * sizeof(float)) == 0;
    }
    friend void PrintTo(const Answer& a, std::ostream* out) {
        *out << a.tokens.size() << " tokens, " << to_string(a.reason) << ":";
        for (std::size_t i = 0; i < a.tokens.size(); ++i)
            *out << " " << a.tokens[i] << (i < a.scores.size() ? "(" + std::to_string(a.scores[i]) + ")" : "");
    }
};

inline std::vector<Answer> answers(Reply& reply, std::uint32_t samples) {
    std::vector<Answer> all(samples);
    while (const auto piece = reply.next()) {
        Answer& a = all[piece->sample];
        a.text += piece->text;
        a.tokens.insert(a.tokens.end(), piece->tokens.begin(), piece->tokens.end());
        for (const TokenScore& s : piece->scores) {
            a.scores.push_back(s.logprob);
            for (const TokenLogprob& t : s.top) a.scores.push_back(t.logprob);
        }
    }
    for (std::uint32_t i = 0; i < samples; ++i) {
        all[i].reason = reply.finish_reason(i);
        EXPECT_FALSE(reply.error(i)) << reply.error(i)->what();
    }
    return all;
}
inline Answer answer(Reply reply) { return answers(reply, 1)[0]; }

inline Answer alone(const Model& model, const Request& request, KvType type = KvType::f16) {
    Engine engine(model, {.kv_type = type});
    return answer(engine.submit(request));
}

// Nothing is held any more, and without the cache every page is free.
inline void expect_no_page_lost(Engine& engine) {
    engine.clear_cache();
    const EngineStatus s = engine.status();
    EXPECT_EQ(s.running + s.waiting + s.parked, 0u);
    EXPECT_EQ(s.pages_free, s.pages);
    EXPECT_EQ(s.park_bytes, 0u);
}

}  // namespace tern::test
