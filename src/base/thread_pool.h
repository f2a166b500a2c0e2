// One pool of threads per Runtime. A parallel region runs one body on every worker; inside it, barrier() meets them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tern::base {

// Processors that this process may run on, and physical cores among them. Both at least 1.
unsigned available_processors() noexcept;
unsigned available_cores() noexcept;

class ThreadPool {
public:
    // `threads` workers in all, the caller of run() included. Error(out_of_memory) if threads cannot be started.
    explicit ThreadPool(unsigned threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    unsigned size() const noexcept { return size_; }

    // Calls body(worker) for worker 0 … size()-1, worker 0 on the calling thread, and returns when all are done.
    // Bodies must not throw. Calls from several threads take turns; a body must not call run().
    template <class Body>
    void run(Body&& body) {
        run_erased([](void* b, unsigned worker) { (*static_cast<std::remove_reference_t<Body>*>(b))(worker); },
                   const_cast<void*>(static_cast<const void*>(std::addressof(body))));
    }

    // Inside a body: waits until every worker has called it as often. What any of them wrote before is visible after.
    void barrier() noexcept;

private:
    using Thunk = void (*)(void*, unsigned);
    void run_erased(Thunk thunk, void* body);
    void work(unsigned worker) noexcept;
    // Returns once value != old: spins or yields briefly, because the other workers are mostly microseconds away, then
    // parks.
    void await_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) const noexcept;

    const unsigned size_;
    const bool crowded_;  // more workers than processors
    std::mutex turn_;
    Thunk thunk_ = nullptr;
    void* body_ = nullptr;
    bool stop_ = false;
    // Each on its own cache line: written by one side, watched by the other.
    alignas(64) std::atomic<std::uint32_t> generation_{0};
    alignas(64) std::atomic<std::uint32_t> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> phase_{0};
    std::vector<std::thread> threads_;
};

}  // namespace tern::base
