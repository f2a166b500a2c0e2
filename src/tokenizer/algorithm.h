// What differs between the kinds of tokenisers: how a stretch of plain text becomes tokens, and a token bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tern/gguf.h>
#include <tern/tokenizer.h>

#include "tokenizer/vocabulary.h"

namespace tern::tokenizer {

struct PreTokenizer;

class Algorithm {
public:
    virtual ~Algorithm() = default;
    // Appends the tokens of a text that holds no added tokens. It is not empty, and stands at the beginning of
    // all or behind an added token.
    virtual void encode(std::string_view text, std::vector<TokenId>& out) const = 0;
    // Appends the bytes that a token adds inside a text; not for control, unknown and user-defined tokens.
    virtual void append_bytes(TokenId id, std::string& out) const = 0;
    // encode puts a space before its text, so decode drops one there.
    virtual bool adds_space() const noexcept = 0;
};

// The vocabulary must outlive the algorithm.
std::unique_ptr<Algorithm> make_sentencepiece(const gguf::File& file, const Vocabulary& vocabulary);
std::unique_ptr<Algorithm> make_unigram(const gguf::File& file, const Vocabulary& vocabulary);
std::unique_ptr<Algorithm> make_byte_bpe(const gguf::File& file, const Vocabulary& vocabulary,
                                         const PreTokenizer& pre);
std::unique_ptr<Algorithm> make_wordpiece(const gguf::File& file, const Vocabulary& vocabulary);

}  // namespace tern::tokenizer
