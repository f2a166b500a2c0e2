#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include <tern/error.h>

namespace tern::tokenizer {

namespace {

constexpr std::string_view kTokensKey = "tokenizer.ggml.tokens";
constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
constexpr std::string_view kTypesKey = "tokenizer.ggml.token_type";

[[noreturn]] void bad_key(const gguf::File& file, std::string_view key, const std::string& problem) {
    throw Error(ErrorCode::bad_file, fmt::format("{}: key '{}': {}", file.name(), key, problem));
}

// A special token's id; empty when the key is absent or says "none" (-1, also as u32).
std::optional<TokenId> read_id(const gguf::File& file, std::string_view key, std::size_t tokens) {
    const gguf::Value* value = file.find(key);
    if (!value) return std::nullopt;
    const std::int64_t id = value->as_i64();
    if (id == -1 || id == UINT32_MAX) return std::nullopt;
    if (id < 0 || static_cast<std::uint64_t>(id) >= tokens) {
        bad_key(file, key, fmt::format("token id {} is outside the vocabulary of {} tokens", id, tokens));
    }
    return static_cast<TokenId>(id);
}

// Names under which published chat models end a turn. They are looked up where the file does not say.
constexpr std::array<std::string_view, 7> kEndOfTurn = {
    "<|eot_id|>",     // Llama 3
    "<|im_end|>",     // ChatML: Qwen, ...
    "<|end|>",        // Phi-3
    "<end_of_turn>",  // Gemma
    "<EOT>",          // older instruction models
    "[EOT]",          // Kimi
    "<end_of_utterance>",  // SmolVLM
};

// Further names that end a reply.
constexpr std::array<std::string_view, 6> kEndOfText = {
    "<|endoftext|>",    // GPT-2, Qwen base
    "<|end_of_text|>",  // Llama 3 base, Granite
    "<|eom_id|>",       // Llama 3.1: a tool is to answer
    "<|return|>",       // gpt-oss (harmony): end of the final message
    "<|call|>",         // gpt-oss (harmony): a tool is to answer
    "<turn|>",          // Gemma 4
};

}  // namespace

void TextIndex::reserve(std::size_t count) {
    std::size_t capacity = 16;
    while (capacity < count * 2) capacity *= 2;
    slots_.assign(capacity, -1);
}

bool TextIndex::insert(TokenId id, const std::vector<std::string_view>& texts) {
    const std::string_view text = texts[static_cast<std::size_t>(id)];
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = std::hash<std::string_view>{}(text)&mask;
    for (; slots_[slot] >= 0; slot = (slot + 1) & mask) {
        if (texts[static_cast<std::size_t>(slots_[slot])] == text) return false;
    }
    slots_[slot] = id;
    return true;
}

TokenId TextIndex::find(std::string_view text, const std::vector<std::string_view>& texts) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = std::hash<std::string_view>{}(text)&mask;
    for (; slots_[slot] >= 0; slot = (slot + 1) & mask) {
        if (texts[static_cast<std::size_t>(slots_[slot])] == text) return slots_[slot];
    }
    return -1;
}

Vocabulary::Vocabulary(const gguf::File& file, TokenizerKind kind) {
    read_tokens(file);
    read_types(file);
    read_special_ids(file, kind);
    find_end_tokens();
}

void Vocabulary::read_tokens(const gguf::File& file) {
    const std::vector<std::string_view> tokens = file.get(kTokensKey).as_strings();
    if (tokens.empty()) bad_key(file, kTokensKey, "the vocabulary is empty");
    std::size_t total = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (tokens[i].size() > kMaxTokenBytes) {
            bad_key(file, kTokensKey,
                    fmt::format("token {} has {} bytes, the limit is {}", i, tokens[i].size(), kMaxTokenBytes));
        }
        total += tokens[i].size();
        max_token_bytes_ = std::max(max_token_bytes_, tokens[i].size());
    }
    bytes_.reserve(total);
    for (const std::string_view token : tokens) bytes_ += token;
    texts_.reserve(tokens.size());
    std::size_t offset = 0;
    for (const std::string_view token : tokens) {
        texts_.push_back(std::string_view(bytes_).substr(offset, token.size()));
        offset += token.size();
    }
    index_.reserve(texts_.size());
    for (std::size_t i = 0; i < texts_.size(); ++i) {
        const auto id = static_cast<TokenId>(i);
        if (!index_.insert(id, texts_)) {
            bad_key(file, kTokensKey,
                    fmt::format("tokens {} and {} have the same text", index_.find(texts_[i], texts_), i));
        }
    }
    if (const gguf::Value* scores = file.find(kScoresKey)) {
        scores_ = scores->as_floats();
        if (scores_.size() != texts_.size()) {
            bad_key(file, kScoresKey,
                    fmt::format("{} scores for {} tokens", scores_.size(), texts_.size()));
        }
        for (std::size_t i = 0; i < scores_.size(); ++i) {
            if (!std::isfinite(scores_[i])) {
                bad_key(file, kScoresKey, fmt::format("the score of token {} is not finite", i));
            }
        }
    }
}

void Vocabulary::read_types(const gguf::File& file) {
    types_.assign(texts_.size(), TokenType::normal);
    const gguf::Value* value = file.find(kTypesKey);
    if (!value) return;
    has_types_ = true;
    const std::vector<std::int64_t> types = value->as_integers();
    if (types.size() != texts_.size()) {
        bad_key(file, kTypesKey, fmt::format("{} types for {} tokens", types.size(), texts_.size()));
    }
    for (std::size_t i = 0; i < types.size(); ++i) {
        // 0 is "undefined" in the writers' enumeration and means nothing in particular.
        if (types[i] == 0) continue;
        if (types[i] < 0 || types[i] > 6) {
            bad_key(file, kTypesKey, fmt::format("type {} of token {} is not known", types[i], i));
        }
        types_[i] = static_cast<TokenType>(types[i]);
    }
}

TokenId Vocabulary::find_word(std::string_view text) const noexcept {
    if (text.size() > max_token_bytes_) return -1;
    const TokenId id = find(text);
    if (id < 0) return -1;
    const TokenType t = type(id);
    return t == TokenType::normal || t == TokenType::user_defined || t == TokenType::unused ? id : -1;
}

void Vocabulary::read_special_ids(const gguf::File& file, TokenizerKind kind) {
    const auto read = [&](const char* name) {
        return read_id(file, fmt::format("tokenizer.ggml.{}_token_id", name), size());
    };
    bos = read("bos");
    eos = read("eos");
    eot = read("eot");
    eom = read("eom");
    unk = read("unknown");
    pad = read("padding");
    cls = read("cls");
    mask = read("mask");
    sep = read("seperator");  // as the format spells it
    if (!sep) sep = read("separator");

    const auto named = [&](std::optional<TokenId>& id, std::string_view text) {
        if (id) return;
        if (const TokenId found = find(text); found >= 0) id = found;
    };
    if (kind == TokenizerKind::sentencepiece) {
        // SentencePiece's own defaults for unk, bos and eos are the first three pieces.
        named(unk, "<unk>");
        named(bos, "<s>");
        named(eos, "</s>");
    } else if (kind == TokenizerKind::unigram) {
        named(unk, "<unk>");
        named(eos, "</s>");
        named(pad, "<pad>");
    } else if (kind == TokenizerKind::wordpiece) {
        if (!cls) cls = bos;
        named(unk, "[UNK]");
        named(cls, "[CLS]");
        named(sep, "[SEP]");
        named(pad, "[PAD]");
        named(mask, "[MASK]");
    }
    if (!has_types_) {
        for (const auto& id : {bos, eos, eot, eom, pad, cls, sep, mask}) {
            if (id) types_[static_cast<std::size_t>(*id)] = TokenType::control;
        }
        if (unk) types_[static_cast<std::size_t>(*unk)] = TokenType::unknown;
        if (kind == TokenizerKind::sentencepiece) {
            for (unsigned byte = 0; byte < 256; ++byte) {
                const TokenId id = find(fmt::format("<0x{:02X}>", byte));
                if (id >= 0) types_[static_cast<std::size_t>(id)] = TokenType::byte;
            }
        }
    }
}

void Vocabulary::find_end_tokens() {
    // Files mark these as control, some as user-defined; a normal token of that spelling is ordinary text.
    const auto end_token = [&](std::string_view text) -> std::optional<TokenId> {
        const TokenId id = find(text);
        if (id < 0 || (type(id) != TokenType::control && type(id) != TokenType::user_defined)) {
            return std::nullopt;
        }
        return id;
    };
    // In the harmony format <|end|> closes a message inside a reply, and <|return|> the reply.
    const bool harmony = end_token("<|return|>") && end_token("<|call|>");
    const auto add = [&](std::optional<TokenId> id) {
        if (id) end_of_generation.push_back(*id);
    };
    for (const std::string_view text : kEndOfTurn) {
        if (harmony && text == "<|end|>") continue;
        const std::optional<TokenId> id = end_token(text);
        if (!eot) eot = id;
        add(id);
    }
    for (const std::string_view text : kEndOfText) add(end_token(text));
    add(eos);
    add(eot);
    add(eom);
    std::sort(end_of_generation.begin(), end_of_generation.end());
    end_of_generation.erase(std::unique(end_of_generation.begin(), end_of_generation.end()),
                            end_of_generation.end());
}

}  // namespace tern::tokenizer
