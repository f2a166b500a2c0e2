#include "kv/page_pool.h"

#include <algorithm>
#include <utility>

#include "kernels/kernel.h"

namespace tern::kv {

std::uint32_t page_positions() noexcept { return kernels::kPageTokens; }

std::uint32_t pages_for(std::uint32_t length) noexcept {
    constexpr std::uint32_t kPage = kernels::kPageTokens;
    return length / kPage + (length % kPage != 0);
}

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
    : pool_(other.pool_), groups_(other.groups_), pages_(std::move(other.pages_)),
      length_(std::exchange(other.length_, 0)), seen_from_(std::exchange(other.seen_from_, 0)) {
    other.pages_.clear();
}

PageTable& PageTable::operator=(PageTable&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(groups_, other.groups_);
    std::swap(pages_, other.pages_);
    std::swap(length_, other.length_);
    std::swap(seen_from_, other.seen_from_);
    return *this;
}

std::uint32_t PageTable::own_needed(std::uint32_t position) const noexcept {
    std::uint32_t n = 0;
    for (std::size_t i = std::size_t{position / page_positions()} * groups_; i < pages_.size(); ++i)
        n += pages_[i] != kNoPage && pool_->references(pages_[i]) > 1;
    return n;
}

void PageTable::own(std::uint32_t position, backend::KvMemory& memory) {
    for (std::size_t i = std::size_t{position / page_positions()} * groups_; i < pages_.size(); ++i) {
        if (pages_[i] == kNoPage || pool_->references(pages_[i]) == 1) continue;
        const std::uint32_t copy = pool_->allocate();
        memory.copy_page(pages_[i], copy);
        pool_->release(std::exchange(pages_[i], copy));
    }
}

std::uint32_t PageTable::pages_needed(std::uint32_t length) const noexcept {
    if (length <= length_) return 0;
    const std::uint32_t need = pages_for(length);
    return (need > blocks() ? need - blocks() : 0) * groups_ + own_needed(length_);
}

void PageTable::grow(std::uint32_t length, backend::KvMemory& memory) {
    if (length <= length_) return;
    const std::size_t need = std::size_t{pages_for(length)} * groups_;
    if (need > pages_.capacity()) pages_.reserve(std::max(need, 2 * pages_.capacity()));
    own(length_, memory);
    while (pages_.size() < need) pages_.push_back(pool_->allocate());
    length_ = length;
}

void PageTable::truncate(std::uint32_t length) noexcept {
    if (length > length_) return;
    for (const std::size_t need = std::size_t{pages_for(length)} * groups_; pages_.size() > need; pages_.pop_back())
        if (pages_.back() != kNoPage) pool_->release(pages_.back());
    length_ = length;
    seen_from_ = std::min(seen_from_, blocks());
}

void PageTable::share(std::span<const std::uint32_t> pages, std::uint32_t positions) {
    pages_.insert(pages_.end(), pages.begin(), pages.end());
    for (const std::uint32_t page : pages)
        if (page != kNoPage) pool_->retain(page);
    length_ += positions;
}

void PageTable::share(const PageTable& other) {
    std::vector<std::uint32_t> pages(other.pages_);
    const std::uint32_t length = other.length_, seen_from = other.seen_from_;
    for (const std::uint32_t page : pages)
        if (page != kNoPage) pool_->retain(page);
    truncate(0);
    pages_.swap(pages);
    length_ = length;
    seen_from_ = seen_from;
}

void PageTable::exchange(std::uint32_t block, std::span<const std::uint32_t> pages) noexcept {
    for (std::uint32_t g = 0; g < groups_; ++g) {
        std::uint32_t& mine = pages_[std::size_t{block} * groups_ + g];
        if (mine == kNoPage || pages[g] == kNoPage || mine == pages[g]) continue;
        pool_->retain(pages[g]);
        pool_->release(std::exchange(mine, pages[g]));
    }
}

std::uint32_t PageTable::free_behind_windows(std::span<const std::uint32_t> windows) noexcept {
    std::uint32_t whole = blocks();
    bool any = false;
    for (std::uint32_t g = 0; g < groups_; ++g) {
        const std::uint32_t window = windows[g];
        if (window == 0) continue;
        any = true;
        // The token at position length_ sees the positions from length_ + 1 - window on.
        const std::uint32_t first = length_ + 1 > window ? (length_ + 1 - window) / page_positions() : 0;
        whole = std::min(whole, first);
        for (std::uint32_t b = seen_from_; b < std::min(first, blocks()); ++b) {
            std::uint32_t& page = pages_[std::size_t{b} * groups_ + g];
            if (page != kNoPage) pool_->release(std::exchange(page, kNoPage));
        }
    }
    if (any) seen_from_ = std::max(seen_from_, whole);
    return any ? seen_from_ : 0;
}

}  // namespace tern::kv
