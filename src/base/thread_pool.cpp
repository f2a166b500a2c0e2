#include "base/thread_pool.h"

#include <fmt/format.h>
#include <sched.h>
#include <tern/error.h>

#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tern::base {
namespace {

void pause() noexcept {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Long enough to bridge the gap between two operations (some microseconds), short enough not to steal a processor
// from a host program.
constexpr unsigned kSpins = 1500;
// With more workers than processors a spinning one only delays the one it waits for, and parking at every barrier costs
// two switches through the kernel's queues of sleepers: giving the processor away is enough for a worker that waits for
// its turn. Bounded, because others than our own workers may want it too.
constexpr unsigned kYields = 100;

}  // namespace

unsigned available_processors() noexcept {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return std::max(1u, std::thread::hardware_concurrency());
    return std::max(1u, static_cast<unsigned>(CPU_COUNT(&set)));
}

unsigned available_cores() noexcept {
    try {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (sched_getaffinity(0, sizeof set, &set) != 0) return available_processors();
        std::set<std::pair<int, int>> cores;
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (!CPU_ISSET(cpu, &set)) continue;
            const auto read = [&](const char* leaf, int& value) {
                std::ifstream in(fmt::format("/sys/devices/system/cpu/cpu{}/topology/{}", cpu, leaf));
                return static_cast<bool>(in >> value);
            };
            int package = 0, core = 0;
            if (!read("physical_package_id", package) || !read("core_id", core)) return available_processors();
            cores.emplace(package, core);
        }
        return cores.empty() ? 1u : static_cast<unsigned>(cores.size());
    } catch (...) {
        return available_processors();
    }
}

ThreadPool::ThreadPool(unsigned threads) : size_(threads == 0 ? 1 : threads), crowded_(size_ > available_processors()) {
    try {
        threads_.reserve(size_ - 1);
        for (unsigned worker = 1; worker < size_; ++worker) threads_.emplace_back([this, worker] { work(worker); });
    } catch (const std::system_error& e) {
        const std::size_t started = threads_.size() + 1;
        stop_ = true;
        generation_.fetch_add(1, std::memory_order_release);
        generation_.notify_all();
        for (std::thread& t : threads_) t.join();
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("only {} of {} threads could be started ({}); ask for fewer", started, size_, e.what()));
    }
}

ThreadPool::~ThreadPool() {
    stop_ = true;
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    for (std::thread& t : threads_) t.join();
}

void ThreadPool::await_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) const noexcept {
    for (unsigned i = 0; i < (crowded_ ? kYields : kSpins); ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        if (crowded_)
            sched_yield();
        else
            pause();
    }
    value.wait(old, std::memory_order_acquire);
}

void ThreadPool::barrier() noexcept {
    if (size_ == 1) return;
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
        arrived_.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1, std::memory_order_release);
        phase_.notify_all();
        return;
    }
    while (phase_.load(std::memory_order_acquire) == phase) await_change(phase_, phase);
}

void ThreadPool::run_erased(Thunk thunk, void* body) {
    const std::lock_guard lock(turn_);
    if (size_ > 1) {
        thunk_ = thunk;
        body_ = body;
        generation_.fetch_add(1, std::memory_order_release);
        generation_.notify_all();
    }
    thunk(body, 0);
    barrier();
}

void ThreadPool::work(unsigned worker) noexcept {
    std::uint32_t seen = 0;
    for (;;) {
        while (generation_.load(std::memory_order_acquire) == seen) await_change(generation_, seen);
        ++seen;
        if (stop_) return;
        thunk_(body_, worker);
        barrier();
    }
}

}  // namespace tern::base
