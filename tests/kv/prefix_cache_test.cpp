#include "kv/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace tern::kv {
namespace {

constexpr std::uint32_t kPage = 64;

// Pages hold what the test says they hold: for a page, all tokens up to its end.
class Memory final : public backend::KvMemory {
public:
    std::uint32_t pages() const noexcept override { return 1000; }
    std::uint64_t page_bytes() const noexcept override { return 1; }
    void copy_page(std::uint32_t from, std::uint32_t to) override { content[to] = content[from]; }
    void read_page(std::uint32_t, std::span<std::byte>) const override {}
    void write_page(std::uint32_t, std::span<const std::byte>) override {}
    bool can_move() const noexcept override { return false; }
    void move(std::span<const std::uint32_t>, std::uint32_t, std::uint32_t, std::uint32_t) override {}
    std::map<std::uint32_t, std::vector<TokenId>> content;
};

// A sequence as a scheduler runs it.
struct Running {
    PageTable table;
    PrefixCache::Node* node = nullptr;
    std::uint32_t known = 0;
    std::vector<TokenId> tokens{};
};

struct World {
    Memory memory;
    PagePool pool;
    std::uint32_t groups;
    PrefixCache cache;

    World(std::uint32_t pages, std::vector<std::uint32_t> windows)
        : pool(pages), groups(static_cast<std::uint32_t>(windows.size())), cache(pool, windows) {}

    bool room(std::uint32_t pages) {
        while (pool.free_pages() < pages)
            if (!cache.evict()) return false;
        return true;
    }
    // Takes what is cached; checks that the pages hold these tokens.
    Running begin(const std::vector<TokenId>& tokens, const std::string& salt = {}) {
        Running r{PageTable(pool, groups), cache.enter(salt), 0, tokens};
        cache.match(tokens, static_cast<std::uint32_t>(tokens.size()), r.table, r.node);
        r.known = r.table.length() / kPage;
        for (std::uint32_t b = 0; b < r.table.blocks(); ++b)
            for (const std::uint32_t page : r.table.block(b)) {
                if (page == kNoPage) continue;
                const auto& held = memory.content.at(page);
                const std::size_t end = std::min<std::size_t>((b + 1) * kPage, r.table.length());
                EXPECT_GE(held.size(), end);
                EXPECT_TRUE(std::equal(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(end), tokens.begin()));
            }
        return r;
    }
    bool compute(Running& r) {
        const auto length = static_cast<std::uint32_t>(r.tokens.size());
        if (!room(r.table.pages_needed(length))) return false;
        if (length == r.table.length()) return true;
        const std::uint32_t first = r.table.length() / kPage;
        r.table.grow(length, memory);
        for (std::uint32_t b = first; b < r.table.blocks(); ++b)
            for (const std::uint32_t page : r.table.block(b)) {
                const std::size_t end = std::min<std::size_t>((b + 1) * kPage, length);
                if (page != kNoPage)
                    memory.content[page].assign(r.tokens.begin(), r.tokens.begin() + static_cast<std::ptrdiff_t>(end));
            }
        for (; r.known < length / kPage; ++r.known)
            cache.add(std::span(r.tokens).subspan(r.known * kPage, kPage), r.table, r.known, r.node);
        return true;
    }
    void end(Running& r) {
        if (const std::uint32_t rest = r.table.length() % kPage; rest != 0 && r.known == r.table.length() / kPage) {
            PrefixCache::Node* node = r.node;
            cache.add(std::span(r.tokens).subspan(r.table.length() - rest, rest), r.table, r.known, node);
        }
        r.table.truncate(0);
        cache.leave(r.node);
    }
    void all_free() {
        cache.clear();
        EXPECT_EQ(pool.free_pages(), pool.pages());
        EXPECT_EQ(cache.nodes(), 0u);
        EXPECT_EQ(cache.evictable_pages(), 0u);
    }
};

std::size_t common(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

std::vector<TokenId> text(std::mt19937& random, const std::vector<std::vector<TokenId>>& before) {
    std::vector<TokenId> tokens;
    if (!before.empty() && random() % 4 != 0) {
        tokens = before[random() % before.size()];
        tokens.resize(random() % (tokens.size() + 1));
    }
    for (std::size_t n = random() % 200 + (tokens.empty() ? 1 : 0); n > 0; --n) tokens.push_back(static_cast<TokenId>(random() % 3));
    return tokens;
}

// With room for all, the longest common beginning with anything before is found.
TEST(PrefixCache, FindsTheLongestBeginning) {
    std::mt19937 random(2);
    World w(100000, {0});
    std::vector<std::vector<TokenId>> before;
    for (int i = 0; i < 60; ++i) {
        const std::vector<TokenId> tokens = text(random, before);
        if (tokens.empty()) continue;
        std::size_t longest = 0;
        for (const auto& b : before) longest = std::max(longest, common(b, tokens));
        Running r = w.begin(tokens);
        // Whole blocks always; within a block where not more than sixteen were tried.
        EXPECT_LE(r.table.length(), longest);
        EXPECT_GE(r.table.length(), longest / kPage * kPage);
        if (i < 16) {
            EXPECT_EQ(r.table.length(), longest) << i;
        }
        ASSERT_TRUE(w.compute(r));
        w.end(r);
        before.push_back(tokens);
    }
    w.all_free();
}

TEST(PrefixCache, AnotherSaltFindsNothing) {
    World w(100, {0});
    const std::vector<TokenId> tokens(150, 7);
    Running a = w.begin(tokens, "a");
    ASSERT_TRUE(w.compute(a));
    w.end(a);
    Running b = w.begin(tokens, "b"), again = w.begin(tokens, "a");
    EXPECT_EQ(b.table.length(), 0u);
    EXPECT_EQ(again.table.length(), 150u);
    w.end(b);
    w.end(again);
    w.all_free();
}

// The same tokens below other parents, and the same block twice in one text, are different nodes.
TEST(PrefixCache, ABlockBelongsToWhatIsBeforeIt) {
    World w(100, {0});
    std::vector<TokenId> a(192, 1), b(192, 1);
    std::fill_n(b.begin(), 64, 2);
    Running r = w.begin(a);
    ASSERT_TRUE(w.compute(r));
    w.end(r);
    Running other = w.begin(b);
    EXPECT_EQ(other.table.length(), 0u);
    ASSERT_TRUE(w.compute(other));
    w.end(other);
    Running again = w.begin(a);
    EXPECT_EQ(again.table.length(), 192u);
    EXPECT_EQ(w.cache.nodes(), 7u);  // the root, and three blocks each
    w.end(again);
    w.all_free();
}

// Two that compute the same at the same time end up with the same pages.
TEST(PrefixCache, TwinsShare) {
    World w(100, {0});
    const std::vector<TokenId> tokens(256, 3);
    Running a = w.begin(tokens), b = w.begin(tokens);
    ASSERT_TRUE(w.compute(a));
    EXPECT_EQ(w.pool.free_pages(), 96u);
    ASSERT_TRUE(w.compute(b));
    EXPECT_EQ(w.pool.free_pages(), 96u);
    w.end(a);
    EXPECT_EQ(w.cache.evictable_pages(), 0u);
    w.end(b);
    EXPECT_EQ(w.cache.evictable_pages(), 4u);
    w.all_free();
}

// Few pages, several sequences at once, windows: whatever is evicted, pages never hold anything else than they should,
// and none is lost.
TEST(PrefixCache, RandomUseUnderPressure) {
    for (const std::vector<std::uint32_t>& windows :
         {std::vector<std::uint32_t>{0}, {0, 100}, {70, 0, 200}}) {
        std::mt19937 random(static_cast<unsigned>(windows.size()));
        World w(40 * static_cast<std::uint32_t>(windows.size()), windows);
        std::vector<std::vector<TokenId>> before;
        std::vector<Running> running;
        std::uint64_t hits = 0;
        for (int i = 0; i < 3000; ++i) {
            if (running.size() < 3 && random() % 2) {
                std::vector<TokenId> tokens = text(random, before);
                if (tokens.size() > 600) tokens.resize(600);
                if (tokens.empty()) continue;
                Running r = w.begin(tokens);
                hits += r.table.length();
                if (!w.compute(r)) {
                    w.end(r);
                    continue;
                }
                const std::uint32_t from = r.table.free_behind_windows(windows);
                w.cache.passed(r.node, r.known, from);
                running.push_back(std::move(r));
                before.push_back(tokens);
                if (before.size() > 20) before.erase(before.begin());
            } else if (!running.empty()) {
                const std::size_t n = random() % running.size();
                w.end(running[n]);
                running.erase(running.begin() + static_cast<std::ptrdiff_t>(n));
            }
        }
        EXPECT_GT(hits, 10000u);
        for (Running& r : running) w.end(r);
        w.all_free();
    }
}

}  // namespace
}  // namespace tern::kv
