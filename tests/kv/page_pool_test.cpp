#include "kv/page_pool.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace tern::kv {
namespace {

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
    PagePool pool(4);
    PageTable table(pool);
    EXPECT_EQ(table.pages_needed(0), 0u);
    EXPECT_EQ(table.pages_needed(1), 1u);
    EXPECT_EQ(table.pages_needed(64), 1u);
    EXPECT_EQ(table.pages_needed(65), 2u);
    table.resize(64);
    EXPECT_EQ(pool.free_pages(), 3u);
    table.resize(65);
    EXPECT_EQ(pool.free_pages(), 2u);
    table.resize(64);
    EXPECT_EQ(pool.free_pages(), 3u);
    PageTable moved(std::move(table));
    EXPECT_EQ(moved.length(), 64u);
    EXPECT_EQ(pool.free_pages(), 3u);
    moved.resize(0);
    EXPECT_EQ(pool.free_pages(), 4u);
}

TEST(PageTable, RandomUseLeaksNothing) {
    PagePool pool(64);
    std::mt19937 random(3);
    {
        std::vector<PageTable> tables;
        for (int i = 0; i < 8; ++i) tables.emplace_back(pool);
        for (int i = 0; i < 5000; ++i) {
            PageTable& t = tables[random() % 8];
            const std::uint32_t length = random() % 1000;
            if (t.pages_needed(length) <= pool.free_pages()) t.resize(length);
            std::set<std::uint32_t> owned;
            std::size_t count = 0;
            for (const PageTable& each : tables) {
                count += each.pages().size();
                owned.insert(each.pages().begin(), each.pages().end());
            }
            ASSERT_EQ(owned.size(), count) << "a page has two owners";
            ASSERT_EQ(count + pool.free_pages(), 64u);
        }
    }
    EXPECT_EQ(pool.free_pages(), 64u);
}

}  // namespace
}  // namespace tern::kv
