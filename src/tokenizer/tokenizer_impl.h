// What a Tokenizer holds.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tern/tokenizer.h>

#include "tokenizer/added_tokens.h"
#include "tokenizer/algorithm.h"
#include "tokenizer/vocabulary.h"

namespace tern {

struct Tokenizer::Impl {
    std::string file;  // for messages
    TokenizerKind kind = TokenizerKind::none;
    std::string_view pre;  // the table's name
    std::size_t vocab_size = 0;
    std::unique_ptr<const tokenizer::Vocabulary> vocabulary;  // null: none, like algorithm
    std::unique_ptr<const tokenizer::Algorithm> algorithm;
    tokenizer::AddedTokens user_defined;   // without parse_special
    tokenizer::AddedTokens all_added;      // with it
    std::vector<bool> strips_right;        // by id; empty: none does
    bool adds_bos = false;
    bool adds_eos = false;

    // Error(unsupported) for a file without a vocabulary.
    const tokenizer::Vocabulary& words() const;
    // Error(invalid_argument) for an id out of range.
    void check(TokenId id) const;

    // What add_special puts at the ends; -1: nothing.
    TokenId begin_token() const noexcept;
    TokenId end_token() const noexcept;

    // Appends what the token adds to the text. `text_begins`: nothing or an added token stands before it, so that a
    // leading space is encode's; it is brought up to date. The id is in range.
    void append_text(TokenId id, bool skip_special, bool& text_begins, std::string& out) const;
    // Text after this token begins anew.
    bool is_added(TokenId id) const noexcept;
};

}  // namespace tern
