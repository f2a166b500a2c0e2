// Pages of finished and running sequences, found again by the tokens that made them.
//
// A node is one block of 64 tokens (the last of a sequence may be shorter) below the node of the tokens before it. Nodes
// are found by a hash chained over all tokens so far and the salt, and verified: a hit has the same parent and the same
// tokens. Nodes that no sequence uses are evicted least recently used first, a child always before its parent.
// Not thread safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tern/tokenizer.h>

#include "kv/page_pool.h"

namespace tern::kv {

class PrefixCache {
public:
    struct Node;

    // `windows`: of each group of KV layers, 0: none.
    PrefixCache(PagePool& pool, std::vector<std::uint32_t> windows);
    ~PrefixCache();
    PrefixCache(const PrefixCache&) = delete;
    PrefixCache& operator=(const PrefixCache&) = delete;

    // Where sequences with this salt begin. The root is in use until leave(). std::bad_alloc.
    Node* enter(std::string_view salt);
    // The longest cached beginning of `tokens`, at most `limit` of them, goes into the empty `table`. `node` (from
    // enter) becomes the node of its last whole block. std::bad_alloc leaves the table empty or shorter; `node` is right.
    void match(std::span<const TokenId> tokens, std::uint32_t limit, PageTable& table, Node*& node);
    // Registers block `block` of `table`, whose tokens are `tokens` (64, or fewer of a sequence that ended) below
    // `node`. For a whole block `node` moves to it. Where the cache has it already the table takes the cache's pages for
    // its own. std::bad_alloc changes nothing.
    void add(std::span<const TokenId> tokens, PageTable& table, std::uint32_t block, Node*& node);
    // Another sequence uses the same node.
    void share(Node* node) noexcept;
    // A sequence no longer uses `node` and those above it.
    void leave(Node* node) noexcept;
    // Drops the node below `node` that holds `page`, if nobody else needs it: the table that has it may then write to it.
    void surrender(Node* node, std::uint32_t page) noexcept;
    // The windows of a sequence, which has `blocks` blocks down to `node`, have passed the blocks before `seen_from`:
    // under pressure their pages go first.
    void passed(Node* node, std::uint32_t blocks, std::uint32_t seen_from) noexcept;

    std::uint32_t evictable_pages() const noexcept { return evictable_; }
    // Frees at least one page; false when nothing can be evicted.
    bool evict() noexcept;
    void clear() noexcept { while (evict()) {} }
    std::uint32_t nodes() const noexcept { return nodes_; }

private:
    struct Link {
        Link *before = this, *after = this;
        bool linked() const noexcept { return after != this; }
        void unlink() noexcept {
            before->after = after;
            after->before = before;
            before = after = this;
        }
        void push_before(Link& other) noexcept {
            before = other.before;
            after = &other;
            before->after = this;
            other.before = this;
        }
    };

    Node* find(Node* parent, std::uint64_t hash, std::span<const TokenId> tokens) const noexcept;
    void set_idle(Node* node) noexcept;
    void set_used(Node* node) noexcept;
    void remove(Node* node) noexcept;
    std::uint32_t pages_of(const Node* node) const noexcept;

    PagePool& pool_;
    const std::vector<std::uint32_t> windows_;
    std::unordered_multimap<std::uint64_t, std::unique_ptr<Node>> by_hash_;
    Link idle_;    // nodes that no sequence uses, the least recently used first
    Link passed_;  // nodes with pages of windows that only the cache holds
    std::uint32_t evictable_ = 0;
    std::uint32_t nodes_ = 0;
};

}  // namespace tern::kv
