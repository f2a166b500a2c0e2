#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <tern/error.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

namespace tern::base {
namespace {

TEST(ThreadPool, EveryWorkerRunsOnce) {
    for (const unsigned n : {1u, 2u, 3u, 8u, 17u}) {
        ThreadPool pool(n);
        EXPECT_EQ(pool.size(), n);
        std::vector<int> runs(n, 0);
        for (int i = 0; i < 100; ++i) pool.run([&](unsigned worker) { ++runs[worker]; });
        for (const int r : runs) EXPECT_EQ(r, 100);
    }
}

TEST(ThreadPool, ZeroThreadsMeansOne) { EXPECT_EQ(ThreadPool(0).size(), 1u); }

// Each round reads what all others wrote in the round before: a missing barrier or a missing ordering shows as a
// wrong sum, and under ThreadSanitizer as a race.
TEST(ThreadPool, BarrierOrdersRounds) {
    for (const unsigned n : {2u, 3u, 8u}) {
        ThreadPool pool(n);
        std::vector<std::uint64_t> values(n, 1), next(n, 0);
        constexpr int kRounds = 200;
        std::atomic<int> wrong{0};
        pool.run([&](unsigned worker) {
            for (int round = 0; round < kRounds; ++round) {
                std::uint64_t sum = 0;
                for (const std::uint64_t v : values) sum += v;
                next[worker] = sum % 1000003 + worker;
                pool.barrier();
                values[worker] = next[worker];
                pool.barrier();
                for (unsigned w = 0; w < values.size(); ++w)
                    if (values[w] - w != values[0]) ++wrong;
                pool.barrier();
            }
        });
        EXPECT_EQ(wrong, 0);
    }
}

TEST(ThreadPool, CallersTakeTurns) {
    ThreadPool pool(3);
    std::atomic<int> inside{0}, worst{0}, total{0};
    std::vector<std::thread> callers;
    for (int c = 0; c < 4; ++c)
        callers.emplace_back([&] {
            for (int i = 0; i < 50; ++i)
                pool.run([&](unsigned) {
                    const int now = ++inside;
                    int seen = worst.load();
                    while (now > seen && !worst.compare_exchange_weak(seen, now)) {}
                    ++total;
                    pool.barrier();
                    --inside;
                });
        });
    for (std::thread& t : callers) t.join();
    EXPECT_LE(worst, 3);
    EXPECT_EQ(total, 4 * 50 * 3);
}

TEST(ThreadPool, WakesAfterALongSleep) {
    ThreadPool pool(4);
    for (int i = 0; i < 3; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        std::atomic<int> count{0};
        pool.run([&](unsigned) { ++count; });
        EXPECT_EQ(count, 4);
    }
}

// A host program that waits for something else must not pay for its pool.
TEST(ThreadPool, UsesNoProcessorWhenIdle) {
    for (const unsigned n : {2u, 8u}) {
        ThreadPool pool(n);
        pool.run([](unsigned) {});
        const std::clock_t before = std::clock();  // of all threads of the process
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 10) << n;
    }
}

}  // namespace
}  // namespace tern::base
