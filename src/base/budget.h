// A limit of memory that several owners share.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

namespace tern::base {

// Thread safe.
class Budget {
public:
    explicit Budget(std::uint64_t limit) noexcept : limit_(limit) {}  // 0: none

    std::uint64_t limit() const noexcept { return limit_; }
    std::uint64_t used() const noexcept {
        const std::lock_guard lock(mutex_);
        return used_;
    }
    // What is left; the greatest number where there is no limit.
    std::uint64_t left() const noexcept {
        const std::lock_guard lock(mutex_);
        return limit_ == 0 ? ~std::uint64_t{0} : limit_ - used_;
    }
    bool take(std::uint64_t bytes) noexcept {
        const std::lock_guard lock(mutex_);
        if (limit_ != 0 && bytes > limit_ - used_) return false;
        used_ += bytes;
        return true;
    }
    void give(std::uint64_t bytes) noexcept {
        const std::lock_guard lock(mutex_);
        used_ -= bytes;
    }

private:
    const std::uint64_t limit_;
    mutable std::mutex mutex_;
    std::uint64_t used_ = 0;
};

// Bytes of a budget, given back at the end. The budget must outlive it.
class Share {
public:
    Share() = default;
    Share(Budget& budget, std::uint64_t bytes) noexcept : budget_(&budget), bytes_(bytes) {}  // already taken
    Share(Share&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&& other) noexcept {
        std::swap(budget_, other.budget_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Share() {
        if (budget_) budget_->give(bytes_);
    }

private:
    Budget* budget_ = nullptr;
    std::uint64_t bytes_ = 0;
};

}  // namespace tern::base
