// Vocabularies made by hand for tests.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <tern/error.h>
#include <tern/gguf.h>
#include <tern/tokenizer.h>

#include "tokenizer/utf8.h"

namespace tern::test {

struct VocabularyFile {
    std::string model = "llama";
    std::string pre;
    std::string architecture = "test";
    std::vector<std::string> tokens;
    std::vector<float> scores;
    std::vector<std::int32_t> types;
    std::vector<std::string> merges;
    std::function<void(gguf::Writer&)> more;  // further keys

    TokenId add(std::string text, TokenType type = TokenType::normal, float score = 0.0f) {
        tokens.push_back(std::move(text));
        types.push_back(static_cast<std::int32_t>(type));
        scores.push_back(score);
        return static_cast<TokenId>(tokens.size()) - 1;
    }

    Tokenizer load(const TokenizerOptions& options = {}) const {
        gguf::Writer writer;
        writer.add_string("general.architecture", architecture);
        if (!model.empty()) writer.add_string("tokenizer.ggml.model", model);
        if (!pre.empty()) writer.add_string("tokenizer.ggml.pre", pre);
        if (!tokens.empty()) writer.add_strings("tokenizer.ggml.tokens", tokens);
        if (!scores.empty()) writer.add_f32s("tokenizer.ggml.scores", scores);
        if (!types.empty()) writer.add_i32s("tokenizer.ggml.token_type", types);
        if (!merges.empty()) writer.add_strings("tokenizer.ggml.merges", merges);
        if (more) more(writer);
        const std::vector<std::byte> bytes = writer.to_bytes();
        return Tokenizer::from_gguf(gguf::File::parse(bytes, "made.gguf"), options);
    }
};

// How byte-level vocabularies spell a byte, from its published rule: printable Latin-1 as it is, the rest from U+0100.
inline std::vector<std::string> byte_spellings() {
    std::vector<std::string> out(256);
    char32_t next = 256;
    for (unsigned b = 0; b < 256; ++b) {
        const bool kept = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
        utf8::append(kept ? char32_t{b} : next++, out[b]);
    }
    return out;
}

// unk, bos, eos, 256 bytes, U+2581, a to e, and some pieces. Scores make the order of merges matter.
inline VocabularyFile sentencepiece_file() {
    VocabularyFile f;
    f.add("<unk>", TokenType::unknown);
    f.add("<s>", TokenType::control);
    f.add("</s>", TokenType::control);
    const char* digits = "0123456789ABCDEF";
    for (int b = 0; b < 256; ++b) {
        f.add(std::string("<0x") + digits[b / 16] + digits[b % 16] + ">", TokenType::byte);
    }
    float score = -1.0f;
    for (const char* piece :
         {"ab", "\u2581a", "bc", "abc", "\u2581\u2581", "cd", "\u2581ab", "aa", "aaaa", "\u2581\u2581\u2581\u2581",
          "de", "cde", "abcd", "\u00e9a", "\u2581", "a", "b", "c", "d", "e", "\u00e9"}) {
        f.add(piece, TokenType::normal, score);
        score -= 1.0f;
    }
    f.more = [](gguf::Writer& w) {
        w.add_u32("tokenizer.ggml.unknown_token_id", 0);
        w.add_u32("tokenizer.ggml.bos_token_id", 1);
        w.add_u32("tokenizer.ggml.eos_token_id", 2);
    };
    return f;
}

// 256 bytes, merges learnt by nobody, and three added tokens.
inline VocabularyFile byte_bpe_file(const std::string& pre = "gpt-2") {
    VocabularyFile f;
    f.model = "gpt2";
    f.pre = pre;
    for (const std::string& spelling : byte_spellings()) f.add(spelling);
    const std::vector<std::pair<std::string, std::string>> merges = {
        {"a", "b"}, {"\u0120", "a"}, {"b", "c"}, {"ab", "c"}, {"a", "a"}, {"aa", "aa"}, {"\u0120", "\u0120"},
        {"c", "d"}, {"\u0120a", "b"}, {"ab", "cd"}, {"\u0120\u0120", "\u0120\u0120"}, {"\u00c3", "\u00a9"}, {"d", "e"}};
    for (const auto& [left, right] : merges) {
        f.merges.push_back(left + " " + right);
        f.add(left + right);
    }
    f.add("<|endoftext|>", TokenType::control);
    f.add("<|im_end|>", TokenType::control);
    f.add("[user]", TokenType::user_defined);
    f.scores.clear();
    return f;
}

inline VocabularyFile unigram_file(const std::vector<std::int32_t>& charsmap = {}) {
    VocabularyFile f;
    f.model = "t5";
    f.add("<pad>", TokenType::control);
    f.add("</s>", TokenType::control);
    f.add("<unk>", TokenType::unknown);
    float score = -2.0f;
    for (const char* piece : {"\u2581", "a", "b", "ab", "\u2581ab", "aa", "aaaa", "\u2581a", "'s", "1", "=", "\t"}) {
        f.add(piece, TokenType::normal, score);
        score -= 0.25f;
    }
    f.add("[user]", TokenType::user_defined);
    f.more = [charsmap](gguf::Writer& w) {
        w.add_bool("tokenizer.ggml.remove_extra_whitespaces", false);
        if (!charsmap.empty()) w.add_i32s("tokenizer.ggml.precompiled_charsmap", charsmap);
    };
    return f;
}

inline VocabularyFile wordpiece_file() {
    VocabularyFile f;
    f.model = "bert";
    for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) f.add(special, TokenType::control);
    for (const char* piece : {"\u2581un", "\u2581the", "happi", "ness", "\u2581cafe", "\u2581,", "\u2581!", "\u2581i",
                              "\u2581\u4e16", "\u2581\u754c", "s", "\u2581\u1112", "\u1161", "\u2581$"}) {
        f.add(piece);
    }
    f.scores.clear();
    return f;
}

// Text that is well-formed UTF-8 and dense in what the small vocabularies know.
inline std::string random_text(std::mt19937& random, std::size_t characters) {
    static const std::vector<std::string> kAlphabet = {"a", "b", "c", "d",  "e",      "a",      "b",  " ", " ", "\n",
                                                       "x", "1", ".", "\t", "\u00e9", "\U0001F999", "\u4e16"};
    std::string out;
    for (std::size_t i = 0; i < characters; ++i) out += kAlphabet[random() % kAlphabet.size()];
    return out;
}

inline std::string random_bytes(std::mt19937& random, std::size_t count) {
    std::string out(count, '\0');
    for (char& c : out) c = static_cast<char>(random());
    return out;
}

// The statement must throw an Error of the code whose message holds every one of the words.
template <class Statement>
void expect_error(ErrorCode code, const std::vector<std::string>& words, Statement&& statement) {
    try {
        statement();
        ADD_FAILURE() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), code) << error.what();
        for (const std::string& word : words) {
            EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " in: " << error.what();
        }
    }
}

using Ids = std::vector<TokenId>;

}  // namespace tern::test
