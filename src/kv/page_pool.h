// Which KV pages are free, and the page tables of sequences. Storage belongs to the backend (backend::KvMemory); what
// a token may see is the graph's business (graph::Visibility).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tern::kv {

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

// The pages of one sequence, in order of positions. Releases them at its end.
class PageTable {
public:
    explicit PageTable(PagePool& pool) noexcept : pool_(&pool) {}
    PageTable(PageTable&& other) noexcept;
    PageTable& operator=(PageTable&& other) noexcept;
    ~PageTable() { resize(0); }

    std::uint32_t length() const noexcept { return length_; }  // positions
    std::span<const std::uint32_t> pages() const noexcept { return pages_; }
    // Pages that resize(length) would take from the pool.
    std::uint32_t pages_needed(std::uint32_t length) const noexcept;
    // Grows (the pool must have pages_needed(length) free pages) or forgets the end. Error(out_of_memory) from the
    // host's allocator leaves the table as it was.
    void resize(std::uint32_t length);

private:
    PagePool* pool_;
    std::vector<std::uint32_t> pages_;
    std::uint32_t length_ = 0;
};

}  // namespace tern::kv
