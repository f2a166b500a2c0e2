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
    // The leftmost match at or after `from`, the longest one there.
    std::optional<Match> find(std::string_view text, std::size_t from) const noexcept;

private:
    struct Node {
        TokenId id = -1;  // of the token that ends here
        std::vector<std::pair<unsigned char, std::uint32_t>> next;  // ascending
    };
    static const std::uint32_t* step(const Node& node, unsigned char byte) noexcept;
    std::vector<Node> nodes_;
};

}  // namespace tern::tokenizer
