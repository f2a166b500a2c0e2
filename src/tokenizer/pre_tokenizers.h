// THE list of split patterns for byte-level BPE, by the names of `tokenizer.ggml.pre`.
#pragma once

#include <span>
#include <string_view>

#include "tokenizer/splitter.h"

namespace tern::tokenizer {

struct PreTokenizer {
    std::string_view name;
    std::span<const std::string_view> aliases;
    std::span<const SplitStep> steps;
    // A word that is a token is that token, even where merges would not give it ("ignore_merges" of tokenizer.json).
    bool whole_words;
    bool adds_bos;  // where the file has no tokenizer.ggml.add_bos_token
};

std::span<const PreTokenizer> pre_tokenizers() noexcept;
// By name or alias; null where there is none.
const PreTokenizer* find_pre_tokenizer(std::string_view name) noexcept;

}  // namespace tern::tokenizer
