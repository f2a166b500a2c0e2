// What goes wrong ends the requests concerned, each exactly once, and no page is lost.
#include <atomic>
#include <cstdlib>
#include <new>
#include <random>
#include <thread>

#include "engine/support.h"

// Clang's sanitizers bring an operator new of their own that cannot be replaced; GCC's AddressSanitizer lets it be.
#if defined(__clang__) && defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TERN_CANNOT_REPLACE_NEW
#endif
#endif

#ifndef TERN_CANNOT_REPLACE_NEW
namespace {

// Allocations of all threads, counted while armed; the one that brings the count to zero fails, and `more` after it.
std::atomic<bool> armed{false};
std::atomic<long> until_failure{0};
std::atomic<long> failures{0};

bool fails() noexcept {
    if (!armed.load(std::memory_order_relaxed)) return false;
    if (until_failure.fetch_sub(1, std::memory_order_relaxed) != 1) return false;
    failures.fetch_add(1, std::memory_order_relaxed);
    return true;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
    if (!fails())
        if (void* p = alignment > alignof(std::max_align_t)
                          ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                          : std::malloc(bytes ? bytes : 1))
            return p;
    throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t n) { return allocate(n, 0); }
void* operator new[](std::size_t n) { return allocate(n, 0); }
void* operator new(std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return fails() ? nullptr : std::malloc(n ? n : 1); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
#endif

namespace tern::test {
namespace {

#ifndef TERN_CANNOT_REPLACE_NEW
// A scene with all that the engine does: samples, hits, parking, slides, scores, stop texts.
std::vector<Request> scene() {
    std::vector<Request> all;
    all.push_back(ids(some_tokens(100, 1, 10), 6, 1));
    all.push_back(ids(some_tokens(100, 1, 10), 6, 2));
    all.back().samples = 3;
    all.push_back(ids(some_tokens(70, 2, 10), 40, 3));
    all.back().priority = 2;
    all.push_back(ids(some_tokens(120, 3, 10), 20, 4));
    all.back().when_full = ContextPolicy::slide;
    all.push_back(ids(some_tokens(30, 4, 10), 5, 5));
    all.back().prompt_logprobs = true;
    all.back().stop = {"cc"};
    all.push_back(ids(some_tokens(120, 3, 10), 5, 6));
    all.back().priority = 3;
    return all;
}

TEST(Failure, OfEveryAllocation) {
    const Model model = tiny(1);
    const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    const EngineOptions options{.kv_memory = 5 * page, .context = 128, .batch = 32, .parallel = 3, .park_memory = 2 * page};
    const std::vector<Request> requests = scene();
    std::vector<std::vector<Answer>> expected;
    for (const Request& r : requests) {
        Engine engine(model, options);
        Reply reply = engine.submit(r);
        expected.push_back(answers(reply, r.samples));
    }
    // One engine lives through all failures.
    Engine engine(model, options);
    long point = 1, without = 0, failed_requests = 0, refused = 0;
    std::mt19937 random(1);
    while (without < 3 && point < (kSanitized ? 3000 : 100000)) {
        std::vector<std::unique_ptr<std::atomic<int>>> ends;
        std::vector<std::optional<Reply>> replies(requests.size());
        std::vector<Request> copies = requests;
        for (Request& r : copies) {
            ends.push_back(std::make_unique<std::atomic<int>>(0));
            r.on_end = [count = ends.back().get()](const End&) { ++*count; };
        }
        engine.clear_cache();
        failures = 0;
        until_failure = point;
        armed = true;
        for (std::size_t i = 0; i < copies.size(); ++i) try {
                replies[i].emplace(engine.submit(std::move(copies[i])));
            } catch (const std::bad_alloc&) {
                ++refused;
            } catch (const Error& e) {
                EXPECT_EQ(e.code(), ErrorCode::out_of_memory) << e.what();
                ++refused;
            }
        for (auto& reply : replies)
            if (reply) reply->wait();
        armed = false;
        without = failures == 0 ? without + 1 : 0;
        for (std::size_t i = 0; i < replies.size(); ++i) {
            if (!replies[i]) continue;
            const std::uint32_t samples = requests[i].samples;
            std::vector<Answer> got(samples);
            while (const auto piece = replies[i]->next()) {
                Answer& a = got[piece->sample];
                a.text += piece->text;
                a.tokens.insert(a.tokens.end(), piece->tokens.begin(), piece->tokens.end());
                for (const TokenScore& s : piece->scores) {
                    a.scores.push_back(s.logprob);
                    for (const TokenLogprob& t : s.top) a.scores.push_back(t.logprob);
                }
            }
            for (std::uint32_t k = 0; k < samples; ++k) {
                got[k].reason = replies[i]->finish_reason(k);
                if (got[k].reason == FinishReason::error) {
                    ++failed_requests;
                    EXPECT_EQ(replies[i]->error(k)->code(), ErrorCode::out_of_memory) << replies[i]->error(k)->what();
                } else {
                    ASSERT_EQ(got[k], expected[i][k]) << "request " << i << ", sample " << k << ", allocation " << point;
                }
            }
            engine.clear_cache();  // a turn of the engine's thread: callbacks have been called
            ASSERT_EQ(*ends[i], static_cast<int>(samples)) << "request " << i << ", allocation " << point;
        }
        const EngineStatus s = engine.status();
        ASSERT_EQ(s.pages_free, s.pages) << "allocation " << point;
        ASSERT_EQ(s.park_bytes, 0u);
        // Each of the first thousand, then some.
        point += point < (kSanitized ? 60 : 400) ? 1 : 1 + static_cast<long>(random() % (kSanitized ? 150 : 17));
    }
    EXPECT_GT(failed_requests, 0);
    EXPECT_GT(refused, 0);
    if (!kSanitized) {
        EXPECT_EQ(without, 3) << "the scene allocates more than was tried";
    }
}

TEST(Failure, OfTheEnginesOwnAllocations) {
    const Model model = tiny(1);
    for (long point = 1; point < 10000; ++point) {
        failures = 0;
        until_failure = point;
        armed = true;
        try {
            Engine engine(model, {.context = 128});
            armed = false;
            if (failures == 0) return;
            // Something that may fail did.
            EXPECT_EQ(answer(engine.submit(ids({1, 4}, 3))).tokens.size(), 3u);
        } catch (const std::bad_alloc&) {
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::out_of_memory) << e.what();
        }
        armed = false;
    }
    ADD_FAILURE() << "never without a failure";
}

#endif

// Thousands of requests of all kinds from several threads, with random cancels: each ends exactly once.
TEST(Failure, ManyRequestsWithRandomCancels) {
    const Model model = tiny(2);
    const std::uint64_t page = Engine::plan(model, {.kv_memory = MiB, .context = 64}).kv_per_token * 64;
    Engine engine(model, {.kv_memory = 12 * page, .context = 256, .batch = 64, .parallel = 6, .park_memory = 3 * page});
    constexpr unsigned kThreads = 4, kEach = 2500;
    std::atomic<unsigned> ended{0}, samples{0}, errors{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            std::mt19937 random(t);
            std::vector<Reply> kept;
            for (unsigned i = 0; i < kEach; ++i) {
                Request r = ids(some_tokens(1 + random() % 60, random() % 5, 10), 1 + random() % 12, random());
                r.logprobs.reset();
                r.priority = static_cast<std::int32_t>(random() % 3);
                r.samples = random() % 10 == 0 ? 3 : 1;
                if (random() % 20 == 0) {
                    r.max_tokens = 150;
                    if (random() % 2) r.when_full = ContextPolicy::slide;
                }
                if (random() % 20 == 0) r.timeout = std::chrono::milliseconds(1 + random() % 5);
                samples += r.samples;
                r.on_end = [&](const End& end) {
                    ++ended;
                    errors += end.reason == FinishReason::error;
                };
                kept.push_back(engine.submit(std::move(r)));
                switch (random() % 5) {
                    case 0: kept.back().cancel(); break;
                    case 1: kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(random() % kept.size())); break;
                    case 2: kept[random() % kept.size()].poll(); break;
                    case 3: kept[random() % kept.size()].wait(); break;
                    default: break;
                }
                if (kept.size() > 30) kept.erase(kept.begin(), kept.begin() + 10);
            }
            for (Reply& reply : kept) reply.wait();
        });
    for (std::thread& t : threads) t.join();
    // Dropped ones end by themselves.
    for (int i = 0; i < 5000 && ended != samples; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(ended, samples);
    EXPECT_EQ(errors, 0u);
    expect_no_page_lost(engine);
}

TEST(Failure, ShutdownWithRequestsInFlight) {
    const Model model = tiny(2);
    int cancelled = 0;
    for (int round = 0; round < 30; ++round) {
        std::atomic<int> ended{0};
        std::vector<Reply> replies;
        {
            Engine engine(model, {.context = 512, .parallel = 3});
            for (int i = 0; i < 10; ++i) {
                Request r = ids(some_tokens(50, static_cast<unsigned>(i), 10), 400);
                r.samples = 2;
                r.on_end = [&](const End&) { ++ended; };
                replies.push_back(engine.submit(std::move(r)));
            }
            for (int i = 0; i < round; ++i) replies[static_cast<std::size_t>(i) % 3].next();
        }
        EXPECT_EQ(ended, 20);
        for (Reply& reply : replies) {
            // Those that the engine had time for ended before.
            EXPECT_TRUE(reply.finish_reason(1) == FinishReason::cancelled || reply.finish_reason(1) == FinishReason::length);
            cancelled += reply.finish_reason(1) == FinishReason::cancelled;
            reply.cancel();
            while (reply.next()) {}
        }
    }
    EXPECT_GT(cancelled, 0);
}

}  // namespace
}  // namespace tern::test
