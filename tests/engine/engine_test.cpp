#include <gtest/gtest.h>
#include <tern/tern.h>

#include <atomic>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "support/reference_data.h"
#include "support/sanitizer.h"

namespace tern {
namespace {

struct Stories {
    Runtime runtime;
    Model model;
    explicit Stories(const std::filesystem::path& path, unsigned threads = 2)
        : runtime({.threads = threads}), model(Model::load(runtime, path)) {}
};

Request greedy(std::string prompt, std::uint32_t n) {
    Request r;
    r.prompt = std::move(prompt);
    r.max_tokens = n;
    r.sampling.temperature = 0;
    return r;
}

TEST(Engine, GivesThePeersGreedyTokens) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const auto cases = nlohmann::json::parse(test::read_file(test::reference_data() / "models/stories260k.greedy.json"));
    const Stories s(path);
    Engine engine(s.model, {.kv_type = KvType::f32});
    constexpr std::uint32_t kTokens = test::kSanitized ? 40 : 200;
    int compared = 0;
    for (const auto& c : cases) {
        Reply reply = engine.submit(greedy(c["prompt"], kTokens));
        EXPECT_EQ(reply.prompt_tokens(), c["prompt_tokens"].get<std::vector<TokenId>>());
        const std::string text = reply.text();
        EXPECT_EQ(reply.tokens().size(), kTokens);
        if (c["smallest_logit_gap"].get<double>() <= 0.002) continue;
        ++compared;
        std::vector<TokenId> expected = c["tokens"].get<std::vector<TokenId>>();
        expected.resize(std::min<std::size_t>(expected.size(), kTokens));
        EXPECT_EQ(reply.tokens(), expected);
        EXPECT_TRUE(c["text"].get<std::string>().starts_with(text)) << text;
        if (!test::kSanitized) {
            EXPECT_EQ(text, c["text"].get<std::string>());
        }
        EXPECT_EQ(reply.finish_reason(), FinishReason::length);
    }
    EXPECT_GE(compared, 3);
}

// The same request alone, among others, and with any batch size: the same tokens.
TEST(Engine, CompanyChangesNothing) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    std::vector<Request> requests;
    for (int i = 0; i < (test::kSanitized ? 6 : 12); ++i) {
        Request r = greedy(i % 3 ? "Once upon a time there was a cat " + std::string(static_cast<std::size_t>(i) * 9, 'a') : "Tom",
                           20 + static_cast<std::uint32_t>(i));
        r.sampling.temperature = i % 2 ? 0.9f : 0.0f;
        r.sampling.seed = static_cast<std::uint64_t>(i);
        requests.push_back(r);
    }
    std::vector<std::vector<TokenId>> alone;
    for (const Request& r : requests) {
        Engine engine(s.model);
        Reply reply = engine.submit(r);
        reply.text();
        alone.push_back(reply.tokens());
    }
    for (const std::uint32_t batch : {1u, 5u, 512u}) {
        Engine engine(s.model, {.kv_memory = 4 * MiB, .context = 256, .batch = batch});
        std::vector<Reply> replies;
        for (const Request& r : requests) replies.push_back(engine.submit(r));
        for (std::size_t i = replies.size(); i > 0; --i) {
            replies[i - 1].text();
            EXPECT_EQ(replies[i - 1].tokens(), alone[i - 1]) << "request " << i - 1 << ", batch " << batch;
        }
    }
}

TEST(Engine, StopTextsEndTheReplyAndAreNotPartOfIt) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    Engine engine(s.model);
    const std::string whole = engine.submit(greedy("Once upon a time", 60)).text();
    ASSERT_NE(whole.find("Lily. She"), std::string::npos) << whole;
    Request r = greedy("Once upon a time", 60);
    r.stop = {"nothing like this", "ly. Sh"};
    Reply reply = engine.submit(r);
    EXPECT_EQ(reply.text(), whole.substr(0, whole.find("ly. Sh")));
    EXPECT_EQ(reply.finish_reason(), FinishReason::stop);
    // A text that only began is given in the end.
    r.stop = {whole.substr(whole.size() - 3) + "§"};
    EXPECT_EQ(engine.submit(r).text(), whole);
}

TEST(Engine, RefusesWhatCannotBeDone) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    Engine engine(s.model, {.context = 32});
    EXPECT_EQ(engine.context(), 32u);
    const auto code = [&](const Request& r) {
        try {
            engine.submit(r);
        } catch (const Error& e) {
            return e.code();
        }
        return ErrorCode::internal;
    };
    Request r = greedy("", 5);
    r.prompt_tokens.assign(33, 5);
    EXPECT_EQ(code(r), ErrorCode::context_full);
    r.prompt_tokens = {1, 512};
    EXPECT_EQ(code(r), ErrorCode::invalid_argument);
    r.prompt_tokens = {-1};
    EXPECT_EQ(code(r), ErrorCode::invalid_argument);
    r = greedy("x", 100);
    EXPECT_EQ(code(r), ErrorCode::context_full);  // it does not fit, and the policy is to refuse
    r = greedy("x", 5);
    r.samples = 0;
    EXPECT_EQ(code(r), ErrorCode::invalid_argument);
    r = greedy("x", 5);
    r.when_full = ContextPolicy::slide;
    r.keep = 17;
    EXPECT_EQ(code(r), ErrorCode::invalid_argument);
    r = greedy("x", 5);
    r.stop = {""};
    EXPECT_EQ(code(r), ErrorCode::invalid_argument);
    r = greedy("x", 5);
    r.sampling.temperature = -1;
    EXPECT_EQ(code(r), ErrorCode::invalid_argument);
    EXPECT_THROW(Engine(s.model, {.kv_memory = 1, .context = 512}), Error);
    EXPECT_THROW(Engine(s.model, {.batch = 0}), Error);
}

TEST(Engine, AFullContextIsReported) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    Engine engine(s.model, {.context = 40});
    Request request = greedy("Once upon a time", 100);
    EXPECT_THROW(engine.submit(request), Error);
    request.when_full = ContextPolicy::stop;
    Reply reply = engine.submit(request);
    reply.text();
    EXPECT_EQ(reply.finish_reason(), FinishReason::context_full);
    EXPECT_EQ(reply.prompt_tokens().size() + reply.tokens().size(), 41u);  // the last one needs no position
    EXPECT_FALSE(reply.error());
    const std::vector<TokenId> part = reply.tokens();
    Engine larger(s.model, {.context = 400});
    Reply more = larger.submit(greedy("Once upon a time", 100));
    more.text();
    EXPECT_TRUE(std::equal(part.begin(), part.end(), more.tokens().begin()));
}

TEST(Engine, CancelAndDropGiveTheirPagesBack) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    // Room for exactly one request at a time.
    Engine engine(s.model, {.context = 64, .kv_type = KvType::f32});
    for (int i = 0; i < 5; ++i) {
        Request request = greedy("Once upon a time", 50);
        // Slow enough that the engine is not done before the cancel.
        if (i % 2) request.on_piece = [](const Piece&) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
        Reply reply = engine.submit(std::move(request));
        if (i % 2) {
            reply.cancel();
            EXPECT_EQ(reply.finish_reason(), FinishReason::cancelled);
        } else {
            for (int k = 0; k < i; ++k) reply.next();
        }
    }
    Reply reply = engine.submit(greedy("Once upon a time", 50));
    EXPECT_FALSE(reply.text().empty());
    EXPECT_EQ(reply.finish_reason(), FinishReason::length);
}

TEST(Engine, RepliesOutliveTheirEngine) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    auto engine = std::make_unique<Engine>(s.model);
    Request slow = greedy("Tom", 400);
    slow.on_piece = [](const Piece&) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
    Reply done = engine->submit(greedy("Tom", 10)), open = engine->submit(std::move(slow));
    EXPECT_EQ(done.finish_reason(), FinishReason::length);
    engine.reset();
    EXPECT_FALSE(done.text().empty());
    while (open.next()) {}
    EXPECT_EQ(open.finish_reason(), FinishReason::cancelled);
}

TEST(Engine, ManyThreadsSubmitAndWait) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    Engine engine(s.model, {.kv_memory = 2 * MiB, .context = 128});
    const std::string expected = engine.submit(greedy("Once upon a time", 30)).text();
    constexpr int kEach = test::kSanitized ? 4 : 15;
    std::atomic<int> same{0}, ended{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 6; ++t)
        threads.emplace_back([&, t] {
            std::mt19937 random(t);
            for (int i = 0; i < kEach; ++i) {
                Reply reply = engine.submit(greedy("Once upon a time", 30));
                if (random() % 3 == 0) {
                    for (unsigned k = random() % 5; k > 0; --k) reply.next();
                    reply.cancel();
                    const FinishReason reason = reply.finish_reason();
                    ended += reason == FinishReason::cancelled || reason == FinishReason::length;
                    same += 1;
                } else {
                    same += reply.text() == expected;
                    ended += reply.finish_reason() == FinishReason::length;
                }
            }
        });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(same, 6 * kEach);
    EXPECT_EQ(ended, 6 * kEach);
}

TEST(Session, CutsAndBatchesAsItLikes) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    std::vector<TokenId> tokens;
    for (int i = 0; i < 150; ++i) tokens.push_back(1 + i * 37 % 500);
    Session whole(s.model, {.context = 160});
    const auto expected = whole.eval(tokens);
    const std::vector<float> row(expected.begin(), expected.end());
    ASSERT_EQ(row.size(), 512u);
    for (const std::uint32_t batch : {1u, 7u, 64u, 512u}) {
        Session session(s.model, {.context = 160, .sequences = 3, .batch = batch});
        const std::vector<TokenId> other(40, 9);
        const Append items[] = {{.sequence = 2, .tokens = other, .last_logits = false},
                                {.sequence = 1, .tokens = tokens, .all_logits = true},
                                {.sequence = 0, .tokens = other}};
        const auto rows = session.eval(items);
        ASSERT_EQ(rows.size(), 151u * 512);
        EXPECT_EQ(std::memcmp(rows.data() + 149 * 512, row.data(), row.size() * sizeof(float)), 0) << batch;
        // Forgetting the end and saying it again changes nothing.
        session.truncate(1, 100);
        const Append again{.sequence = 1, .tokens = std::span(tokens).subspan(100)};
        const auto repeated = session.eval(std::span(&again, 1));
        EXPECT_EQ(std::memcmp(repeated.data(), row.data(), row.size() * sizeof(float)), 0) << batch;
    }
}

TEST(Session, RefusalsChangeNothing) {
    TERN_REFERENCE(path, "models/stories260k.gguf");
    const Stories s(path);
    Session session(s.model, {.context = 10, .sequences = 2});
    const std::vector<TokenId> six(6, 5), bad{5, 99999};
    session.eval(six);
    EXPECT_THROW(session.eval(six), Error);
    EXPECT_THROW(session.eval(bad), Error);
    EXPECT_THROW(session.eval(std::span<const TokenId>{}), Error);
    const Append twice[] = {{.sequence = 1, .tokens = six}, {.sequence = 1, .tokens = six}};
    EXPECT_THROW(session.eval(twice), Error);
    const Append unknown{.sequence = 2, .tokens = six};
    EXPECT_THROW(session.eval(std::span(&unknown, 1)), Error);
    EXPECT_THROW(session.truncate(0, 7), Error);
    EXPECT_EQ(session.position(0), 6u);
    EXPECT_EQ(session.position(1), 0u);
}

}  // namespace
}  // namespace tern
