// What SentencePiece's two models share: pieces spell a space as U+2581, and bytes that no piece covers have tokens
// of their own.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <tern/gguf.h>

#include "tokenizer/vocabulary.h"

namespace tern::tokenizer {

inline constexpr std::string_view kSpacePiece = "\xE2\x96\x81";  // U+2581

class PieceBytes {
public:
    // Error(bad_file) for a byte token whose text names no byte.
    PieceBytes(const gguf::File& file, const Vocabulary& vocabulary);

    // Appends the tokens of a piece outside the vocabulary: its bytes if all of them have tokens, otherwise the unknown
    // token, one for neighbours together, as SentencePiece does. Returns whether it was unknown.
    bool encode_unknown(std::string_view piece, bool after_unknown, std::vector<TokenId>& out) const;

    void append_bytes(TokenId id, std::string& out) const;

private:
    const Vocabulary& vocabulary_;
    std::array<TokenId, 256> byte_tokens_{};
};

}  // namespace tern::tokenizer
