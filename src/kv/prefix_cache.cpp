#include "kv/prefix_cache.h"

#include <algorithm>

#include "base/hash.h"

namespace tern::kv {
namespace {

std::uint64_t chain(std::uint64_t before, std::span<const TokenId> tokens) noexcept {
    return base::hash(std::as_bytes(tokens), before);
}

// A block that begins as the tokens go on is found among its parent's by trying each; older ones than this many are not
// looked at.
constexpr std::size_t kMostTried = 16;

}  // namespace

struct PrefixCache::Node {
    struct Idle : Link {
        Node* node;
    } idle, passed;
    Node* parent = nullptr;       // null: a root, which stands for a salt
    std::uint64_t hash = 0;
    std::string salt{};           // of a root
    std::vector<TokenId> tokens{};
    std::vector<std::uint32_t> pages{};  // by group; kNoPage: given up, it was behind its window
    std::vector<Node*> children{};  // the latest about last
    std::size_t place = 0;          // among the parent's children
    std::uint32_t users = 0;
};

PrefixCache::PrefixCache(PagePool& pool, std::vector<std::uint32_t> windows)
    : pool_(pool), windows_(std::move(windows)) {}

PrefixCache::~PrefixCache() {
    for (auto& [hash, node] : by_hash_)
        for (const std::uint32_t page : node->pages)
            if (page != kNoPage) pool_.release(page);
}

std::uint32_t PrefixCache::pages_of(const Node* node) const noexcept {
    return static_cast<std::uint32_t>(node->pages.size() -
                                      static_cast<std::size_t>(std::count(node->pages.begin(), node->pages.end(), kNoPage)));
}

void PrefixCache::set_idle(Node* node) noexcept {
    node->idle.push_before(idle_);
    evictable_ += pages_of(node);
}

void PrefixCache::set_used(Node* node) noexcept {
    if (!node->idle.linked()) return;
    node->idle.unlink();
    evictable_ -= pages_of(node);
}

PrefixCache::Node* PrefixCache::enter(std::string_view salt) {
    const std::uint64_t hash = base::hash(std::as_bytes(std::span(salt)));
    const auto [begin, end] = by_hash_.equal_range(hash);
    for (auto it = begin; it != end; ++it)
        if (!it->second->parent && it->second->salt == salt) {
            set_used(it->second.get());
            ++it->second->users;
            return it->second.get();
        }
    auto root = std::make_unique<Node>();
    root->idle.node = root->passed.node = root.get();
    root->hash = hash;
    root->salt = salt;
    root->users = 1;
    ++nodes_;
    try {
        return by_hash_.emplace(hash, std::move(root))->second.get();
    } catch (...) {
        --nodes_;
        throw;
    }
}

PrefixCache::Node* PrefixCache::find(Node* parent, std::uint64_t hash, std::span<const TokenId> tokens) const noexcept {
    const auto [begin, end] = by_hash_.equal_range(hash);
    for (auto it = begin; it != end; ++it)
        if (it->second->parent == parent && std::ranges::equal(it->second->tokens, tokens)) return it->second.get();
    return nullptr;
}

void PrefixCache::match(std::span<const TokenId> tokens, std::uint32_t limit, PageTable& table, Node*& node) {
    const std::uint32_t page = page_positions();
    tokens = tokens.first(std::min<std::size_t>(tokens.size(), limit));
    std::vector<Node*> path;
    path.reserve(tokens.size() / page + 1);
    for (Node* at = node; tokens.size() >= page * (path.size() + 1); ) {
        const auto block = tokens.subspan(page * path.size(), page);
        at = find(at, chain(at->hash, block), block);
        if (!at) break;
        path.push_back(at);
    }
    // A window's group needs the pages that the next token sees; the longest beginning that has them counts.
    const auto has_windows = [&](std::size_t blocks, std::uint32_t length) {
        for (std::size_t g = 0; g < windows_.size(); ++g) {
            if (windows_[g] == 0) continue;
            const std::size_t first = length + 1 > windows_[g] ? (length + 1 - windows_[g]) / page : 0;
            for (std::size_t b = first; b < blocks; ++b)
                if (path[b]->pages[g] == kNoPage) return false;
        }
        return true;
    };
    std::size_t blocks = path.size();
    while (blocks > 0 && !has_windows(blocks, static_cast<std::uint32_t>(blocks) * page)) --blocks;
    for (std::size_t i = 0; i < blocks; ++i) {
        table.share(path[i]->pages, page);
        set_used(path[i]);
        ++path[i]->users;
        node = path[i];
    }
    // The longest common beginning with a block below: whole or short.
    const auto rest = tokens.subspan(blocks * page);
    Node* best = nullptr;
    std::size_t common = 0;
    for (std::size_t n = 0; n < std::min(node->children.size(), kMostTried) && !rest.empty(); ++n) {
        Node* candidate = node->children[node->children.size() - 1 - n];
        const auto [a, b] = std::ranges::mismatch(candidate->tokens, rest);
        const auto length = static_cast<std::size_t>(a - candidate->tokens.begin());
        if (length <= common || std::ranges::count(candidate->pages, kNoPage) != 0) continue;
        best = candidate;
        common = length;
    }
    if (!best) return;
    if (!has_windows(blocks, static_cast<std::uint32_t>(blocks * page + common))) return;
    table.share(best->pages, static_cast<std::uint32_t>(common));
    // The table will copy the page before it writes to it; until then nothing needs the node itself.
    if (best->idle.linked() && best->children.empty()) {
        best->idle.unlink();
        best->idle.push_before(idle_);
    }
}

void PrefixCache::add(std::span<const TokenId> tokens, PageTable& table, std::uint32_t block, Node*& node) {
    const bool whole = tokens.size() == page_positions();
    const std::uint64_t hash = chain(node->hash, tokens);
    if (Node* known = find(node, hash, tokens)) {
        table.exchange(block, known->pages);
        // A page that the cache gave up and this table still has comes back.
        const auto mine = table.block(block);
        for (std::size_t g = 0; g < mine.size(); ++g)
            if (known->pages[g] == kNoPage && mine[g] != kNoPage) {
                if (known->idle.linked()) ++evictable_;
                pool_.retain(known->pages[g] = mine[g]);
            }
        if (whole) {
            set_used(known);
            ++known->users;
            node = known;
        } else if (known->idle.linked()) {
            known->idle.unlink();
            known->idle.push_before(idle_);
        }
        return;
    }
    auto made = std::make_unique<Node>();
    Node* child = made.get();
    child->idle.node = child->passed.node = child;
    child->parent = node;
    child->hash = hash;
    child->tokens.assign(tokens.begin(), tokens.end());
    child->pages.assign(table.block(block).begin(), table.block(block).end());
    if (node->children.size() == node->children.capacity()) node->children.reserve(2 * node->children.size() + 1);
    by_hash_.emplace(hash, std::move(made));
    child->place = node->children.size();
    node->children.push_back(child);
    for (const std::uint32_t page : child->pages)
        if (page != kNoPage) pool_.retain(page);
    ++nodes_;
    if (whole) {
        child->users = 1;
        node = child;
    } else {
        set_idle(child);
    }
}

void PrefixCache::share(Node* node) noexcept {
    for (; node; node = node->parent) ++node->users;
}

void PrefixCache::leave(Node* node) noexcept {
    // From the last block to the root, so that a child always waits before its parent.
    for (; node; node = node->parent)
        if (--node->users == 0) set_idle(node);
}

void PrefixCache::surrender(Node* node, std::uint32_t page) noexcept {
    for (Node* child : node->children)
        if (std::ranges::find(child->pages, page) != child->pages.end()) {
            if (child->users == 0 && child->children.empty()) {
                set_used(child);
                remove(child);
            }
            return;
        }
}

void PrefixCache::passed(Node* node, std::uint32_t blocks, std::uint32_t seen_from) noexcept {
    for (; node->parent; node = node->parent, --blocks) {
        if (blocks > seen_from) continue;
        bool any = false;
        for (std::size_t g = 0; g < windows_.size(); ++g) any |= windows_[g] != 0 && node->pages[g] != kNoPage;
        if (!any || node->passed.linked()) return;  // and so those above it
        node->passed.push_before(passed_);
    }
}

// `node` is in no list and has no children.
void PrefixCache::remove(Node* node) noexcept {
    if (node->passed.linked()) node->passed.unlink();
    for (const std::uint32_t page : node->pages)
        if (page != kNoPage) pool_.release(page);
    if (node->parent) {
        std::vector<Node*>& siblings = node->parent->children;
        siblings[node->place] = siblings.back();
        siblings[node->place]->place = node->place;
        siblings.pop_back();
    }
    --nodes_;
    const auto [begin, end] = by_hash_.equal_range(node->hash);
    for (auto it = begin; it != end; ++it)
        if (it->second.get() == node) {
            by_hash_.erase(it);
            return;
        }
}

bool PrefixCache::evict() noexcept {
    while (passed_.linked()) {
        Node* node = static_cast<Node::Idle*>(passed_.after)->node;
        node->passed.unlink();
        bool freed = false;
        for (std::size_t g = 0; g < windows_.size(); ++g) {
            std::uint32_t& page = node->pages[g];
            if (windows_[g] == 0 || page == kNoPage || pool_.references(page) > 1) continue;
            if (node->idle.linked()) --evictable_;
            pool_.release(page);
            page = kNoPage;
            freed = true;
        }
        if (freed) return true;
    }
    while (idle_.linked()) {
        Node* node = static_cast<Node::Idle*>(idle_.after)->node;
        const std::uint32_t pages = pages_of(node);
        bool freed = false;
        for (const std::uint32_t page : node->pages) freed |= page != kNoPage && pool_.references(page) == 1;
        node->idle.unlink();
        evictable_ -= pages;
        remove(node);
        if (freed) return true;
    }
    return false;
}

}  // namespace tern::kv
