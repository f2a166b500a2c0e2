// What a request can ask for.
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "engine/support.h"

namespace tern::test {
namespace {

using namespace std::chrono_literals;

// log softmax in double, the definition.
double exact_logprob(std::span<const float> row, TokenId token) {
    double max = -1e300, sum = 0;
    for (const float x : row) max = std::max(max, static_cast<double>(x));
    for (const float x : row) sum += std::exp(static_cast<double>(x) - max);
    return static_cast<double>(row[static_cast<std::size_t>(token)]) - max - std::log(sum);
}

TEST(Requests, ScoresAreTheModelsOwn) {
    const Model model = tiny();
    const std::vector<TokenId> prompt = some_tokens(150, 3, 10);
    Request r = ids(prompt, 20, 5);
    r.prompt_logprobs = true;
    r.logprobs = 4;
    r.sampling.temperature = 0.3f;
    r.sampling.logit_bias = {{4, 2.0f}};  // neither is seen in the scores
    Engine engine(model, {.batch = 40});
    Reply reply = engine.submit(r);
    std::vector<TokenScore> scores;
    for (const Piece& piece : reply) scores.insert(scores.end(), piece.scores.begin(), piece.scores.end());
    ASSERT_EQ(scores.size(), 20u);
    ASSERT_EQ(reply.prompt_scores().size(), prompt.size() - 1);
    std::vector<TokenId> all = prompt;
    for (const TokenScore& s : scores) all.push_back(s.token);
    EXPECT_EQ(std::vector<TokenId>(all.begin() + 150, all.end()), reply.tokens());
    Session session(model, {.context = 256});
    const Append item{.tokens = all, .all_logits = true};
    const auto rows = session.eval(std::span(&item, 1));
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
        const TokenScore& s = i + 1 < prompt.size() ? reply.prompt_scores()[i] : scores[i + 1 - prompt.size()];
        const auto row = rows.subspan(i * 10, 10);
        EXPECT_EQ(s.token, all[i + 1]);
        // One rounding of the result to f32, the sum's and the functions' errors are of doubles.
        const auto near = [&](float got, TokenId token) {
            const double exact = exact_logprob(row, token);
            EXPECT_NEAR(got, exact, std::abs(exact) * 0x1p-24 + 1e-12) << i;
        };
        near(s.logprob, s.token);
        ASSERT_EQ(s.top.size(), 4u);
        for (std::size_t k = 0; k < 4; ++k) {
            near(s.top[k].logprob, s.top[k].token);
            if (k > 0) {
                EXPECT_GE(s.top[k - 1].logprob, s.top[k].logprob);
            }
        }
        EXPECT_GE(s.top[0].logprob, s.logprob);
    }
    // Scored again, the prompt is computed again, and stays what it was.
    Reply again = engine.submit(r);
    again.wait();
    EXPECT_EQ(again.timings().cached_tokens, 0u);
    ASSERT_EQ(again.prompt_scores().size(), reply.prompt_scores().size());
    for (std::size_t i = 0; i < prompt.size() - 1; ++i) EXPECT_EQ(again.prompt_scores()[i].logprob, reply.prompt_scores()[i].logprob);
}

TEST(Requests, APromptAloneIsScored) {
    Request r = ids(some_tokens(70, 3, 10), 0);
    r.prompt_logprobs = true;
    Engine engine(tiny());
    Reply reply = engine.submit(r);
    EXPECT_EQ(reply.finish_reason(), FinishReason::length);
    EXPECT_EQ(reply.prompt_scores().size(), 69u);
    EXPECT_TRUE(reply.tokens().empty());
}

TEST(Requests, StopTokensAreNotPartOfTheReply) {
    const Model model = tiny();
    const Request r = ids(some_tokens(20, 3, 10), 40, 2);
    const Answer whole = alone(model, r);
    const TokenId stop = whole.tokens[10];
    Request with = r;
    with.stop_tokens = {stop};
    const Answer cut = alone(model, with);
    EXPECT_EQ(cut.reason, FinishReason::stop);
    const auto first = std::ranges::find(whole.tokens, stop);
    EXPECT_EQ(cut.tokens, std::vector<TokenId>(whole.tokens.begin(), first));
}

TEST(Requests, OnlyTheSameSaltSharesPages) {
    Engine engine(tiny());
    const auto cached = [&](const std::string& salt, bool use = true) {
        Request r = ids(some_tokens(200, 3, 10), 5);
        r.cache_salt = salt;
        r.use_cache = use;
        Reply reply = engine.submit(r);
        reply.wait();
        return reply.timings().cached_tokens;
    };
    EXPECT_EQ(cached("a", false), 0u);
    EXPECT_EQ(cached("a"), 0u);
    EXPECT_EQ(cached("b"), 0u);
    EXPECT_EQ(cached(""), 0u);
    EXPECT_EQ(cached("a"), 199u);
    EXPECT_EQ(cached("a", false), 0u);
    EXPECT_EQ(cached("b"), 199u);
    expect_no_page_lost(engine);
}

TEST(Requests, OldPagesGiveWay) {
    const Model model = tiny();
    const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    Engine engine(model, {.kv_memory = 7 * page, .context = 256});
    const auto cached = [&](unsigned seed) {
        Reply reply = engine.submit(ids(some_tokens(192, seed, 10), 1));
        reply.wait();
        return reply.timings().cached_tokens;
    };
    EXPECT_EQ(cached(1), 0u);
    EXPECT_EQ(cached(2), 1u);  // all begin with the same token
    EXPECT_EQ(cached(1), 191u);
    EXPECT_EQ(cached(3), 1u);  // takes the seventh page and two of 2, the least recently used
    EXPECT_EQ(cached(1), 191u);
    EXPECT_LT(cached(2), 191u);
    const EngineStatus s = engine.status();
    EXPECT_EQ(s.pages_used, 0u);
    EXPECT_EQ(s.pages_cached + s.pages_free, s.pages);
    EXPECT_EQ(s.pages, 7u);
}

TEST(Requests, PolledAndWaitedFor) {
    Engine engine(tiny());
    Reply reply = engine.submit(ids({1, 4}, 30));
    std::vector<TokenId> tokens;
    while (!reply.done()) {
        if (const auto piece = reply.poll())
            tokens.insert(tokens.end(), piece->tokens.begin(), piece->tokens.end());
        else
            std::this_thread::yield();
    }
    EXPECT_EQ(tokens.size(), 30u);
    EXPECT_EQ(reply.tokens(), tokens);
    EXPECT_FALSE(reply.poll());
    EXPECT_THROW(reply.tokens(1), Error);
    EXPECT_THROW(reply.finish_reason(1), Error);
}

struct Ends {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<End> ends;
    void add(const End& end) {
        const std::lock_guard lock(mutex);
        ends.push_back(end);
        changed.notify_all();
    }
    void wait(std::size_t n) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return ends.size() >= n; });
    }
};

TEST(Requests, Callbacks) {
    const Model model = tiny();
    Engine engine(model);
    const Answer expected = alone(model, ids({1, 4, 5}, 25, 3));
    Ends ends;
    std::vector<TokenId> tokens;  // written by the engine's thread until the end
    Request r = ids({1, 4, 5}, 25, 3);
    r.on_piece = [&](const Piece& piece) { tokens.insert(tokens.end(), piece.tokens.begin(), piece.tokens.end()); };
    r.on_end = [&](const End& end) { ends.add(end); };
    engine.submit(r).detach();
    ends.wait(1);
    EXPECT_EQ(tokens, expected.tokens);
    EXPECT_EQ(ends.ends[0].reason, FinishReason::length);
    // From a callback the next request can be made.
    Ends chain;
    Request second = ids({1}, 3);
    second.on_end = [&](const End& end) { chain.add(end); };
    r.on_end = [&](const End&) { engine.submit(second).detach(); };
    r.on_piece = {};
    Reply first = engine.submit(r);
    chain.wait(1);
    // Without detach() the request ends with its handle.
    Ends dropped;
    r.max_tokens = 900;
    r.on_end = [&](const End& end) { dropped.add(end); };
    std::promise<void> gate;
    r.on_piece = [opened = gate.get_future().share()](const Piece&) { opened.wait(); };
    { const Reply gone = engine.submit(r); }
    gate.set_value();
    dropped.wait(1);
    EXPECT_EQ(dropped.ends[0].reason, FinishReason::cancelled);
}

TEST(Requests, AThrowingCallbackEndsItsOwnRequest) {
    const Model model = tiny();
    Engine engine(model);
    const Request plain = ids({1, 4, 5}, 60, 3);
    const Answer expected = alone(model, plain);
    Reply other = engine.submit(plain);
    int calls = 0;
    Ends ends;
    Request r = ids({1, 4}, 50);
    r.samples = 2;
    r.on_piece = [&](const Piece& piece) {
        if (piece.sample == 1 && ++calls == 3) throw std::runtime_error("the disk is full");
    };
    r.on_end = [&](const End& end) {
        ends.add(end);
        throw 5;
    };
    Reply reply = engine.submit(r);
    EXPECT_EQ(reply.finish_reason(0), FinishReason::length);
    EXPECT_EQ(reply.finish_reason(1), FinishReason::error);
    EXPECT_NE(std::string(reply.error(1)->what()).find("the disk is full"), std::string::npos);
    EXPECT_EQ(answers(other, 1)[0], expected);
    ends.wait(2);
    expect_no_page_lost(engine);
}

TEST(Requests, CancelledAtEveryStep) {
    Engine engine(tiny(), {.batch = 16});
    int cancelled = 0;  // the others had ended before
    for (int pieces = 0; pieces < 12; ++pieces)
        for (const std::uint32_t samples : {1u, 3u}) {
            std::atomic<int> ended{0};
            Request r = ids(some_tokens(100, static_cast<unsigned>(pieces), 10), 500);
            r.samples = samples;
            r.on_end = [&](const End&) { ++ended; };
            Reply reply = engine.submit(r);
            for (int i = 0; i < pieces; ++i) reply.next();
            reply.cancel();
            reply.wait();
            while (reply.next()) {}
            for (std::uint32_t i = 0; i < samples; ++i) cancelled += reply.finish_reason(i) == FinishReason::cancelled;
            engine.clear_cache();  // on the engine's thread, so after the callbacks
            EXPECT_EQ(ended, static_cast<int>(samples));
        }
    EXPECT_GT(cancelled, 24);
    expect_no_page_lost(engine);
}

TEST(Requests, Timeout) {
    Engine engine(tiny());
    Request r = ids({1, 4}, 1000);
    r.timeout = 1ms;
    r.on_piece = [](const Piece&) { std::this_thread::sleep_for(2ms); };
    Reply reply = engine.submit(r);
    EXPECT_EQ(reply.finish_reason(), FinishReason::timeout);
    EXPECT_STREQ(to_string(FinishReason::timeout), "timeout");
    expect_no_page_lost(engine);
    r.timeout = -1ms;
    EXPECT_THROW(engine.submit(r), Error);
}

// One sequence at a time: what is more important goes first, even if it comes later; the other one is parked and goes on.
TEST(Requests, Priority) {
    const Model model = tiny();
    Engine engine(model, {.parallel = 1});
    std::mutex mutex;
    std::vector<int> order;
    const auto ordered = [&](int name, std::int32_t priority, std::uint32_t n) {
        Request r = ids({1, 4, 5}, n, 3);
        r.priority = priority;
        r.on_end = [&, name](const End&) {
            const std::lock_guard lock(mutex);
            order.push_back(name);
        };
        return engine.submit(r);
    };
    // The first one stops in the middle until the others are there.
    std::promise<void> gate, reached;
    Answer a;
    bool waited = false;
    Request first = ids({1, 4, 5}, 900, 3);
    first.on_piece = [&, opened = gate.get_future().share()](const Piece& piece) {
        a.tokens.insert(a.tokens.end(), piece.tokens.begin(), piece.tokens.end());
        if (a.tokens.size() >= 100 && !waited) {
            waited = true;
            reached.set_value();
            opened.wait();
        }
    };
    first.on_end = [&](const End&) {
        const std::lock_guard lock(mutex);
        order.push_back(0);
    };
    Reply low = engine.submit(first);
    reached.get_future().wait();
    Reply same = ordered(1, 0, 5), high = ordered(2, 5, 50), higher = ordered(3, 7, 5);
    gate.set_value();
    for (Reply* reply : {&low, &same, &high, &higher}) reply->wait();
    engine.clear_cache();  // a turn of the engine's thread: callbacks have been called
    EXPECT_EQ(order.size(), 4u);
    EXPECT_EQ(order, (std::vector<int>{3, 2, 0, 1}));
    EXPECT_GT(engine.status().parks, 0u);
    EXPECT_EQ(a.tokens, alone(model, ids({1, 4, 5}, 900, 3)).tokens);
}

// A long prompt does not keep those who generate waiting: they take part in every step; and a short prompt that comes
// with it is answered first.
TEST(Requests, ALongPromptStallsNobody) {
    Engine engine(tiny(), {.kv_memory = MiB, .batch = 64, .prefill_budget = 8});
    std::promise<void> gate, reached;
    bool waited = false;
    std::uint32_t spoken = 0, spoken_before = 0;
    std::vector<int> order;  // all on the engine's thread
    Request talk = ids({1, 4}, 600), long_one = ids(some_tokens(900, 3, 10), 2), short_one = ids(some_tokens(16, 5, 10), 2);
    talk.on_piece = [&, opened = gate.get_future().share()](const Piece& piece) {
        spoken += static_cast<std::uint32_t>(piece.tokens.size());
        if (spoken < 10 || waited) return;
        waited = true;
        spoken_before = spoken;
        reached.set_value();
        opened.wait();
    };
    std::uint32_t spoken_meanwhile = 0;
    long_one.on_end = [&](const End&) {
        order.push_back(1);
        spoken_meanwhile = spoken - spoken_before;
    };
    short_one.on_end = [&](const End&) { order.push_back(2); };
    Reply talker = engine.submit(talk);
    reached.get_future().wait();
    Reply listener = engine.submit(long_one), brief = engine.submit(short_one);
    gate.set_value();
    for (Reply* reply : {&talker, &listener, &brief}) reply->wait();
    engine.clear_cache();  // a turn of the engine's thread: callbacks have been called
    EXPECT_EQ(order, (std::vector<int>{2, 1}));
    // 900 tokens at no more than 8 a step, each of which generated. Some pieces hold more than one token.
    EXPECT_GE(spoken_meanwhile + 8, 900u / 8);
}

// The engine's own choice of how much of a prompt a step computes does not sink: mixed steps tell nothing about what a
// step costs without a prompt, and were all it saw.
TEST(Requests, PromptsGoOnBesideOthers) {
    Engine engine(tiny(2, 8192), {.kv_memory = 4 * MiB});
    Reply talker = engine.submit(ids({1, 4}, 8000));
    talker.next();
    const EngineStatus before = engine.status();
    Reply listener = engine.submit(ids(some_tokens(4000, 3, 10), 1));
    listener.wait();
    const EngineStatus after = engine.status();
    const double steps = static_cast<double>(after.steps - before.steps);
    EXPECT_GE(4000 / steps, 3.0);
    talker.cancel();
}

TEST(Requests, SlidingKeepsWhatItSays) {
    const Model model = tiny();
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0}) {
        Request r = ids(some_tokens(50, 3, 10), 300, 5);
        r.when_full = ContextPolicy::slide;
        r.keep = 10;
        Engine engine(model, {.context = 100, .kv_type = type});
        Reply reply = engine.submit(r);
        const Answer first = answers(reply, 1)[0];
        EXPECT_EQ(first.tokens.size(), 300u);
        EXPECT_EQ(first.reason, FinishReason::length);
        // 349 positions were needed; each time the context of 100 was full, 45 of the 90 that may go went.
        EXPECT_EQ(reply.dropped(), 6 * 45u);
        // The same bits in company, in small steps, with few pages, and copied out in between.
        const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64, .kv_type = type}).kv_per_token * 64;
        for (const EngineOptions& options : {EngineOptions{.context = 100, .kv_type = type, .batch = 3},
                                             EngineOptions{.kv_memory = 5 * page, .context = 100, .kv_type = type}}) {
            Engine busy(model, options);
            std::vector<Reply> replies;
            for (int i = 0; i < 6; ++i) {
                Request other = i % 2 ? r : ids(some_tokens(60, 3, 10), 30, static_cast<std::uint64_t>(i));
                other.priority = i;
                replies.push_back(busy.submit(other));
            }
            for (int i = 0; i < 6; ++i) {
                const Answer a = answers(replies[static_cast<std::size_t>(i)], 1)[0];
                if (i % 2) {
                    EXPECT_EQ(a, first) << i;
                }
            }
            expect_no_page_lost(busy);
        }
    }
}

// In a model of one layer keys and values depend on their own token only, so what slid equals a new prompt of what was
// kept, up to the rounding of the keys' second rotation.
TEST(Requests, SlidingMovesPositions) {
    const Model model = tiny(2, 1024, 1);
    Request r = ids(some_tokens(80, 3, 10), 40, 5);
    r.when_full = ContextPolicy::slide;
    r.keep = 7;
    Engine engine(model, {.context = 100, .kv_type = KvType::f32});
    const Answer a = answer(engine.submit(r));
    std::vector<TokenId> all = *&r.prompt_tokens;
    all.insert(all.end(), a.tokens.begin(), a.tokens.end());
    // When the context of 100 was full, (100 - 7 + 1) / 2 = 47 tokens went.
    std::vector<TokenId> kept(all.begin(), all.begin() + 7);
    kept.insert(kept.end(), all.begin() + 7 + 47, all.end());
    Session session(model, {.context = 128, .kv_type = KvType::f32});
    const Append item{.tokens = kept, .all_logits = true};
    const auto rows = session.eval(std::span(&item, 1));
    // Token 100 of all was drawn before the slide, the later ones after it.
    double worst = 0;
    for (std::size_t i = 101; i < all.size(); ++i) {
        const double exact = exact_logprob(rows.subspan((i - 1 - 47) * 10, 10), all[i]);
        worst = std::max(worst, std::abs(exact - static_cast<double>(a.scores[(i - 80) * 3])));
    }
    EXPECT_LT(worst, 1e-5);
    EXPECT_GT(worst, 0);
}

}  // namespace
}  // namespace tern::test
