#include "kv/page_pool.h"

#include <utility>

#include "kernels/kernel.h"

namespace tern::kv {
namespace {

std::uint32_t pages_for(std::uint32_t length) {
    constexpr std::uint32_t kPage = kernels::kPageTokens;
    return length / kPage + (length % kPage != 0);
}

}  // namespace

PagePool::PagePool(std::uint32_t pages) : references_(pages, 0) {
    free_.reserve(pages);
    for (std::uint32_t page = pages; page > 0; --page) free_.push_back(page - 1);
}

std::uint32_t PagePool::allocate() noexcept {
    const std::uint32_t page = free_.back();
    free_.pop_back();
    references_[page] = 1;
    return page;
}

void PagePool::release(std::uint32_t page) noexcept {
    // The reserve in the constructor holds every page, so this cannot allocate.
    if (--references_[page] == 0) free_.push_back(page);
}

PageTable::PageTable(PageTable&& other) noexcept
    : pool_(other.pool_), pages_(std::move(other.pages_)), length_(std::exchange(other.length_, 0)) {
    other.pages_.clear();
}

PageTable& PageTable::operator=(PageTable&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(pages_, other.pages_);
    std::swap(length_, other.length_);
    return *this;
}

std::uint32_t PageTable::pages_needed(std::uint32_t length) const noexcept {
    const std::uint32_t need = pages_for(length);
    return need > pages_.size() ? need - static_cast<std::uint32_t>(pages_.size()) : 0;
}

void PageTable::resize(std::uint32_t length) {
    const std::uint32_t need = pages_for(length);
    pages_.reserve(need);
    while (pages_.size() < need) pages_.push_back(pool_->allocate());
    while (pages_.size() > need) {
        pool_->release(pages_.back());
        pages_.pop_back();
    }
    length_ = length;
}

}  // namespace tern::kv
