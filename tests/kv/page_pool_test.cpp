#include "kv/page_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace tern::kv {
namespace {

// Remembers in each page what was copied into it.
class Memory final : public backend::KvMemory {
public:
    std::uint32_t pages() const noexcept override { return 64; }
    std::uint64_t page_bytes() const noexcept override { return 1; }
    void copy_page(std::uint32_t from, std::uint32_t to) override { copies.emplace_back(from, to); }
    void read_page(std::uint32_t, std::span<std::byte>) const override {}
    void write_page(std::uint32_t, std::span<const std::byte>) override {}
    bool can_move() const noexcept override { return false; }
    void move(std::span<const std::uint32_t>, std::uint32_t, std::uint32_t, std::uint32_t) override {}
    std::vector<std::pair<std::uint32_t, std::uint32_t>> copies;
};

TEST(PagePool, GivesEachPageOnce) {
    PagePool pool(5);
    std::set<std::uint32_t> pages;
    for (int i = 0; i < 5; ++i) pages.insert(pool.allocate());
    EXPECT_EQ(pages, (std::set<std::uint32_t>{0, 1, 2, 3, 4}));
    EXPECT_EQ(pool.free_pages(), 0u);
    pool.retain(3);
    pool.release(3);
    EXPECT_EQ(pool.free_pages(), 0u);
    pool.release(3);
    EXPECT_EQ(pool.free_pages(), 1u);
    EXPECT_EQ(pool.allocate(), 3u);
}

TEST(PageTable, TakesPagesAtTheirBorders) {
    for (const std::uint32_t groups : {1u, 3u}) {
        Memory memory;
        PagePool pool(4 * groups);
        PageTable table(pool, groups);
        EXPECT_EQ(table.pages_needed(0), 0u);
        EXPECT_EQ(table.pages_needed(1), groups);
        EXPECT_EQ(table.pages_needed(64), groups);
        EXPECT_EQ(table.pages_needed(65), 2 * groups);
        table.grow(64, memory);
        EXPECT_EQ(pool.free_pages(), 3 * groups);
        table.grow(65, memory);
        EXPECT_EQ(pool.free_pages(), 2 * groups);
        table.truncate(64);
        EXPECT_EQ(pool.free_pages(), 3 * groups);
        PageTable moved(std::move(table));
        EXPECT_EQ(moved.length(), 64u);
        EXPECT_EQ(pool.free_pages(), 3 * groups);
        moved.truncate(0);
        EXPECT_EQ(pool.free_pages(), 4 * groups);
        EXPECT_TRUE(memory.copies.empty());
    }
}

TEST(PageTable, WritesItsOwnCopyOfASharedPage) {
    Memory memory;
    PagePool pool(8);
    PageTable a(pool), b(pool);
    a.grow(100, memory);
    b.share(a);
    EXPECT_EQ(b.length(), 100u);
    EXPECT_EQ(pool.free_pages(), 6u);
    EXPECT_EQ(b.pages_needed(101), 1u);
    EXPECT_EQ(b.pages_needed(129), 2u);
    const std::uint32_t shared = a.pages()[1];
    b.grow(101, memory);
    ASSERT_EQ(memory.copies.size(), 1u);
    EXPECT_EQ(memory.copies[0], (std::pair{shared, b.pages()[1]}));
    EXPECT_EQ(a.pages()[0], b.pages()[0]);
    EXPECT_NE(a.pages()[1], b.pages()[1]);
    // The other one is the only owner now.
    EXPECT_EQ(a.pages_needed(101), 0u);
    // At a border nothing is copied.
    b.truncate(64);
    EXPECT_EQ(b.pages_needed(65), 1u);
    b.grow(65, memory);
    EXPECT_EQ(memory.copies.size(), 1u);
    // From the first block on.
    EXPECT_EQ(b.own_needed(0), 1u);
    b.own(0, memory);
    EXPECT_EQ(memory.copies.size(), 2u);
    EXPECT_EQ(b.own_needed(0), 0u);
}

TEST(PageTable, FreesWhatIsBehindAWindow) {
    Memory memory;
    PagePool pool(64);
    PageTable table(pool, 3);
    const std::uint32_t windows[] = {0, 100, 64};
    table.grow(64, memory);
    EXPECT_EQ(table.free_behind_windows(windows), 0u);
    table.grow(128, memory);
    // The token at 128 sees 29 … 128 and 65 … 128.
    EXPECT_EQ(table.free_behind_windows(windows), 0u);
    EXPECT_EQ(table.block(0)[2], kNoPage);
    EXPECT_NE(table.block(0)[1], kNoPage);
    table.grow(400, memory);
    table.free_behind_windows(windows);
    for (std::uint32_t b = 0; b < table.blocks(); ++b) {
        EXPECT_NE(table.block(b)[0], kNoPage);
        EXPECT_EQ(table.block(b)[1] == kNoPage, (b + 1) * 64 <= 301) << b;
        EXPECT_EQ(table.block(b)[2] == kNoPage, (b + 1) * 64 <= 337) << b;
    }
    table.truncate(0);
    EXPECT_EQ(pool.free_pages(), 64u);
}

TEST(PageTable, RandomUseLeaksNothing) {
    Memory memory;
    PagePool pool(64);
    std::mt19937 random(3);
    {
        std::vector<PageTable> tables;
        for (int i = 0; i < 8; ++i) tables.emplace_back(pool);
        for (int i = 0; i < 5000; ++i) {
            PageTable& t = tables[random() % 8];
            const std::uint32_t length = random() % 1000;
            if (random() % 8 == 0)
                t.share(tables[random() % 8]);
            else if (length <= t.length())
                t.truncate(length);
            else if (t.pages_needed(length) <= pool.free_pages())
                t.grow(length, memory);
            std::map<std::uint32_t, std::uint32_t> held;
            for (const PageTable& each : tables)
                for (const std::uint32_t page : each.pages()) ++held[page];
            for (const auto& [page, times] : held) ASSERT_EQ(pool.references(page), times);
            ASSERT_EQ(held.size() + pool.free_pages(), 64u);
        }
    }
    EXPECT_EQ(pool.free_pages(), 64u);
}

}  // namespace
}  // namespace tern::kv
