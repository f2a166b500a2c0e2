// The merge loop of byte-pair encoding: again and again the best adjacent pair becomes one symbol. A heap of
// candidate pairs over a linked list of symbols makes it O(n log n); the candidates that a merge makes stale are
// recognised by their size when they come up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include <tern/tokenizer.h>

namespace tern::tokenizer {

inline constexpr std::uint32_t kNoSymbol = UINT32_MAX;

struct Symbol {
    std::uint32_t begin;  // bytes in the text
    std::uint32_t size;   // 0: merged into a symbol to its left
    std::uint32_t prev, next;  // kNoSymbol at the ends
    TokenId id;           // -1: not a token
};

template <class Key>
struct Merge {
    Key key;  // smaller goes first
    TokenId id;
};

template <class Key>
struct Candidate {
    Key key;
    std::uint32_t left, right;
    std::uint32_t size;  // bytes of both when they were put on the heap
    TokenId id;
};

// Buffers that one encode call reuses.
template <class Key>
struct MergeSpace {
    std::vector<Symbol> symbols;
    std::vector<Candidate<Key>> heap;

    void clear() { symbols.clear(); }
    void append(std::uint32_t begin, std::uint32_t size, TokenId id) {
        const auto index = static_cast<std::uint32_t>(symbols.size());
        if (index > 0) symbols.back().next = index;
        symbols.push_back({begin, size, index > 0 ? index - 1 : kNoSymbol, kNoSymbol, id});
    }
};

// `find(left, right)` gives the std::optional<Merge<Key>> of two adjacent symbols. Of equal keys the leftmost pair
// goes first. What remains is the list that starts at symbols[0].
template <class Key, class Find>
void merge_symbols(MergeSpace<Key>& space, Find&& find) {
    auto& symbols = space.symbols;
    auto& heap = space.heap;
    heap.clear();
    const auto later = [](const Candidate<Key>& a, const Candidate<Key>& b) {
        return a.key != b.key ? a.key > b.key : a.left > b.left;
    };
    const auto candidate = [&](std::uint32_t left, std::uint32_t right) {
        const Symbol& a = symbols[left];
        const Symbol& b = symbols[right];
        const std::optional<Merge<Key>> merge = find(a, b);
        if (merge) heap.push_back({merge->key, left, right, a.size + b.size, merge->id});
        return merge.has_value();
    };
    for (std::uint32_t i = 1; i < symbols.size(); ++i) candidate(i - 1, i);
    std::make_heap(heap.begin(), heap.end(), later);
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), later);
        const Candidate<Key> best = heap.back();
        heap.pop_back();
        Symbol& left = symbols[best.left];
        Symbol& right = symbols[best.right];
        if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
        left.size = best.size;
        left.id = best.id;
        left.next = right.next;
        right.size = 0;
        if (left.next != kNoSymbol) {
            symbols[left.next].prev = best.left;
            if (candidate(best.left, left.next)) std::push_heap(heap.begin(), heap.end(), later);
        }
        if (left.prev != kNoSymbol && candidate(left.prev, best.left)) {
            std::push_heap(heap.begin(), heap.end(), later);
        }
    }
}

}  // namespace tern::tokenizer
