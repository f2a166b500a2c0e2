#include "tokenizer/pre_tokenizers.h"

#include <algorithm>

namespace tern::tokenizer {

namespace {

constexpr std::string_view kGpt2Aliases[] = {"gpt2", "phi-2", "mellum", "gigachat", "a.x-4.0"};
constexpr std::string_view kLlamaAliases[] = {"llama3",    "llama-v3", "falcon3", "falcon-h1",
                                              "pixtral",   "midm-2.0", "lfm2"};
constexpr std::string_view kQwen2Aliases[] = {"deepseek-r1-qwen", "kormo", "f2llmv2"};

// To add a pre-tokeniser, add its row: the pattern from the model's public tokenizer.json (pre_tokenizer.pattern).
constexpr PreTokenizer kTable[] = {
    // https://github.com/openai/gpt-2/blob/master/src/encoder.py
    {"gpt-2", kGpt2Aliases, R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", false,
     false},
    // https://huggingface.co/meta-llama/Meta-Llama-3-8B/blob/main/tokenizer.json
    {"llama-bpe", kLlamaAliases,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
     true, true},
    // https://huggingface.co/Qwen/Qwen2-7B/blob/main/tokenizer.json
    {"qwen2", kQwen2Aliases,
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
     R"(\s*[\r\n]+|\s+(?!\S)|\s+)",
     false, false},
};

}  // namespace

std::span<const PreTokenizer> pre_tokenizers() noexcept { return kTable; }

const PreTokenizer* find_pre_tokenizer(std::string_view name) noexcept {
    for (const PreTokenizer& row : kTable) {
        if (row.name == name || std::ranges::find(row.aliases, name) != row.aliases.end()) return &row;
    }
    return nullptr;
}

}  // namespace tern::tokenizer
