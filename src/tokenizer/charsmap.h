// The normaliser of SentencePiece models: `tokenizer.ggml.precompiled_charsmap`, as the library compiles its rules
// (github.com/google/sentencepiece/blob/master/src/normalizer.cc): a u32 with the bytes of a trie, the trie, and
// after it the replacements, each ended by a NUL. The trie is a double array of u32 units (github.com/s-yata/
// darts-clone): the unit of a node holds the byte that leads to it, whether a replacement belongs to it, and the
// offset by whose exclusive or its children and that replacement's place are found.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tern/gguf.h>

namespace tern::tokenizer {

class CharsMap {
public:
    CharsMap() = default;  // changes nothing
    // Everything that a lookup can reach is checked here: Error(bad_file).
    explicit CharsMap(const gguf::File& file);

    struct Match {
        std::size_t length = 0;  // bytes of the text that are replaced; 0: none
        std::string_view replacement;
    };
    // The longest beginning of text.substr(pos) that has a replacement.
    Match longest(std::string_view text, std::size_t pos) const noexcept;

private:
    std::vector<std::uint32_t> units_;
    std::string replacements_;
};

}  // namespace tern::tokenizer
