#include "tokenizer/added_tokens.h"

#include <algorithm>

namespace tern::tokenizer {

namespace {

template <class Edges>
auto edge_position(Edges& edges, unsigned char byte) noexcept {
    return std::lower_bound(edges.begin(), edges.end(), byte,
                            [](const auto& edge, unsigned char b) { return edge.first < b; });
}

}  // namespace

const std::uint32_t* AddedTokens::step(const Node& node, unsigned char byte) noexcept {
    const auto edge = edge_position(node.next, byte);
    return edge != node.next.end() && edge->first == byte ? &edge->second : nullptr;
}

void AddedTokens::insert(std::string_view text, TokenId id) {
    if (text.empty()) return;
    std::uint32_t node = 0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (const std::uint32_t* next = step(nodes_[node], byte)) {
            node = *next;
            continue;
        }
        const auto added = static_cast<std::uint32_t>(nodes_.size());
        auto& edges = nodes_[node].next;
        edges.insert(edge_position(edges, byte), {byte, added});
        nodes_.emplace_back();
        node = added;
    }
    nodes_[node].id = id;
}

}  // namespace tern::tokenizer
