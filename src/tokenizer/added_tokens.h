// Finds added tokens (user-defined, control) in text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <tern/tokenizer.h>

namespace tern::tokenizer {

// A trie of byte strings. Building it is not thread safe, matching is.
class AddedTokens {
public:
    AddedTokens() : nodes_(1) {}

    void insert(std::string_view text, TokenId id);

    struct Match {
        std::size_t begin, end;
        TokenId id;
    };
    // The leftmost match at or after `from` that `accept(match)` takes, the longest such one there.
    template <class Accept>
    std::optional<Match> find(std::string_view text, std::size_t from, const Accept& accept) const {
        if (nodes_[0].next.empty()) return std::nullopt;
        for (std::size_t begin = from; begin < text.size(); ++begin) {
            std::optional<Match> best;
            std::uint32_t node = 0;
            for (std::size_t i = begin; i < text.size(); ++i) {
                const std::uint32_t* next = step(nodes_[node], static_cast<unsigned char>(text[i]));
                if (!next) break;
                node = *next;
                const Match match{begin, i + 1, nodes_[node].id};
                if (match.id >= 0 && accept(match)) best = match;
            }
            if (best) return best;
        }
        return std::nullopt;
    }

private:
    struct Node {
        TokenId id = -1;  // of the token that ends here
        std::vector<std::pair<unsigned char, std::uint32_t>> next;  // ascending
    };
    static const std::uint32_t* step(const Node& node, unsigned char byte) noexcept;
    std::vector<Node> nodes_;
};

}  // namespace tern::tokenizer
