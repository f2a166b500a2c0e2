// The tokens of a GGUF file and the ids with a special part, checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tern/gguf.h>
#include <tern/tokenizer.h>

namespace tern::tokenizer {

// Longest text of one token. Real ones stay below 512 bytes; searching takes time in proportion to it.
inline constexpr std::size_t kMaxTokenBytes = 8192;

// All tokens by text. Texts are distinct.
class TextIndex {
public:
    void reserve(std::size_t count);
    // False if the text is there already. `texts[id]` must be the text of `id`, now and later.
    bool insert(TokenId id, const std::vector<std::string_view>& texts);
    TokenId find(std::string_view text, const std::vector<std::string_view>& texts) const noexcept;  // -1: none

private:
    std::vector<TokenId> slots_;  // open addressing; -1 is free
};

class Vocabulary {
public:
    // `tokenizer.ggml.tokens`, `.scores`, `.token_type` and the special ids.
    Vocabulary(const gguf::File& file, TokenizerKind kind);
    Vocabulary(const Vocabulary&) = delete;
    Vocabulary& operator=(const Vocabulary&) = delete;

    std::size_t size() const noexcept { return texts_.size(); }
    bool contains(TokenId id) const noexcept { return id >= 0 && static_cast<std::size_t>(id) < size(); }
    std::string_view text(TokenId id) const noexcept { return texts_[static_cast<std::size_t>(id)]; }
    TokenType type(TokenId id) const noexcept { return types_[static_cast<std::size_t>(id)]; }
    float score(TokenId id) const noexcept {
        return scores_.empty() ? 0.0f : scores_[static_cast<std::size_t>(id)];
    }
    bool has_types() const noexcept { return has_types_; }
    std::size_t max_token_bytes() const noexcept { return max_token_bytes_; }

    // -1: none. find_word leaves out control, unknown and byte tokens, which ordinary text must never become.
    TokenId find(std::string_view text) const noexcept { return index_.find(text, texts_); }
    TokenId find_word(std::string_view text) const noexcept;

    std::optional<TokenId> bos, eos, eot, eom, unk, pad, sep, cls, mask;
    std::vector<TokenId> end_of_generation;  // ascending

    // Control tokens and unknown tokens: skipped on request, matched in text on request.
    bool is_special(TokenId id) const noexcept {
        return type(id) == TokenType::control || type(id) == TokenType::unknown;
    }

private:
    void read_tokens(const gguf::File& file);
    void read_types(const gguf::File& file);
    void read_special_ids(const gguf::File& file, TokenizerKind kind);
    void find_end_tokens();

    std::string bytes_;
    std::vector<std::string_view> texts_;  // into bytes_
    std::vector<TokenType> types_;
    std::vector<float> scores_;  // empty: none
    bool has_types_ = false;
    std::size_t max_token_bytes_ = 0;
    TextIndex index_;
};

}  // namespace tern::tokenizer
