// Which KV pages are free, and the page tables of sequences. Storage belongs to the backend (backend::KvMemory); what
// a token may see is the graph's business (graph::Visibility).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/interface.h"

namespace tern::kv {

inline constexpr std::uint32_t kNoPage = 0xffffffffu;  // of a window's group: freed, nothing looks there any more

// Hands out pages of a fixed number; allocate and free are O(1). Pages may be shared: each has a reference count.
// Not thread safe.
class PagePool {
public:
    explicit PagePool(std::uint32_t pages);

    std::uint32_t pages() const noexcept { return static_cast<std::uint32_t>(references_.size()); }
    std::uint32_t free_pages() const noexcept { return static_cast<std::uint32_t>(free_.size()); }
    // A page with one reference. There must be a free one.
    std::uint32_t allocate() noexcept;
    void retain(std::uint32_t page) noexcept { ++references_[page]; }
    void release(std::uint32_t page) noexcept;
    std::uint32_t references(std::uint32_t page) const noexcept { return references_[page]; }

private:
    std::vector<std::uint32_t> references_;
    std::vector<std::uint32_t> free_;
};

// Positions of a page; pages that `length` positions take in one group.
std::uint32_t page_positions() noexcept;
std::uint32_t pages_for(std::uint32_t length) noexcept;

// The pages of one sequence: for every 64 positions, in order, one page for each group of KV layers
// (backend::KvMemory::groups). Gives its references back at its end.
class PageTable {
public:
    explicit PageTable(PagePool& pool, std::uint32_t groups = 1) noexcept : pool_(&pool), groups_(groups) {}
    PageTable(PageTable&& other) noexcept;
    PageTable& operator=(PageTable&& other) noexcept;
    ~PageTable() { truncate(0); }

    std::uint32_t length() const noexcept { return length_; }  // positions
    std::uint32_t groups() const noexcept { return groups_; }
    std::uint32_t blocks() const noexcept { return static_cast<std::uint32_t>(pages_.size() / groups_); }
    std::span<const std::uint32_t> pages() const noexcept { return pages_; }  // [block][group]
    std::span<const std::uint32_t> block(std::uint32_t i) const noexcept {
        return std::span(pages_).subspan(std::size_t{i} * groups_, groups_);
    }

    // Pages that grow(length) would take from the pool, copies of shared pages included.
    std::uint32_t pages_needed(std::uint32_t length) const noexcept;
    // Makes room for `length` positions; the pool must have pages_needed(length) free pages. The page that is written
    // next becomes the table's own: where others hold it, too, it is copied (copy on write). Error(out_of_memory) or
    // std::bad_alloc leave the table as it was.
    void grow(std::uint32_t length, backend::KvMemory& memory);
    // Forgets everything from `length`.
    void truncate(std::uint32_t length) noexcept;
    // Appends a block of shared pages (one more reference each) and counts `positions` of them, 1 to 64. The table must
    // hold whole blocks until now.
    void share(std::span<const std::uint32_t> pages, std::uint32_t positions);
    // The same pages and length as `other`, shared.
    void share(const PageTable& other);
    // Gives one block's pages up for others that hold the same numbers.
    void exchange(std::uint32_t block, std::span<const std::uint32_t> pages) noexcept;
    // Makes the pages from the block of `position` on the table's own, copying those that others hold;
    // own_needed(position) pages must be free.
    std::uint32_t own_needed(std::uint32_t position) const noexcept;
    void own(std::uint32_t position, backend::KvMemory& memory);
    // Frees the pages of groups with a window that no token from position length() on can see.
    // Returns the first block that still has all its pages.
    std::uint32_t free_behind_windows(std::span<const std::uint32_t> windows) noexcept;

private:
    PagePool* pool_;
    std::uint32_t groups_;
    std::vector<std::uint32_t> pages_;
    std::uint32_t length_ = 0;
    std::uint32_t seen_from_ = 0;  // blocks before it have lost their windows' pages
};

}  // namespace tern::kv
