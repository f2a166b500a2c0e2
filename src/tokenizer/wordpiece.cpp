// BERT's tokeniser: normalise, cut words at spaces, punctuation and CJK ideographs, then take the longest pieces
// (Devlin et al., "BERT", 2018; github.com/google-research/bert/blob/master/tokenization.py). Where its public
// implementations differ, this follows the one that tokenizer.json files are run with (github.com/huggingface/
// tokenizers: normalizers/bert.rs, pre_tokenizers/bert.rs, models/wordpiece). GGUF writes the pieces that begin a
// word with U+2581 in front, and those that continue one without the "##".
#include <algorithm>

#include <fmt/format.h>
#include <utf8proc.h>

#include <tern/error.h>

#include "tokenizer/algorithm.h"
#include "tokenizer/utf8.h"

namespace tern::tokenizer {

namespace {

constexpr std::string_view kWordStart = "\xE2\x96\x81";
constexpr std::size_t kMaxWordCharacters = 100;  // longer words are unknown: max_input_chars_per_word

bool is_ideograph(char32_t c) {
    // The fifth range begins at 2B920 in that implementation, and at 2B820 in the original.
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_punctuation(char32_t c) {
    if (c < 0x80) {
        return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
               (c >= 0x7B && c <= 0x7E);
    }
    const utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

// Dropped: control, format and private-use characters, but for the three that count as spaces.
bool is_control(char32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return false;
    const utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

class WordPiece final : public Algorithm {
public:
    WordPiece(const gguf::File& file, const Vocabulary& vocabulary)
        : vocabulary_(vocabulary),
          lower_case_(file.bool_or("tokenizer.ggml.normalizer.lowercase", true)),
          strip_accents_(file.bool_or("tokenizer.ggml.normalizer.strip_accents", lower_case_)) {
        if (!vocabulary.unk) {
            throw Error(ErrorCode::bad_file,
                        fmt::format("{}: key 'tokenizer.ggml.unknown_token_id': missing, and the vocabulary has no "
                                    "[UNK]; WordPiece needs one",
                                    file.name()));
        }
    }

    void encode(std::string_view text, std::vector<TokenId>& out) const override {
        std::vector<char32_t> word;
        const auto end_word = [&] {
            if (!word.empty()) encode_word(word, out);
            word.clear();
        };
        const auto separate = [&](char32_t c) {
            end_word();
            word.push_back(c);
            end_word();
        };
        for (std::size_t pos = 0; pos < text.size();) {
            const utf8::CodePoint decoded = utf8::decode(text, pos);
            pos += decoded.length;
            const char32_t c = decoded.value;
            if (c == 0 || c == utf8::kReplacement || is_control(c)) continue;
            if (utf8::is_white_space(c)) {
                end_word();
                continue;
            }
            const bool ideograph = is_ideograph(c);
            if (ideograph) end_word();
            normalize(c, [&](char32_t n) {
                if (is_punctuation(n)) {
                    separate(n);
                } else if (utf8::is_white_space(n)) {
                    end_word();
                } else {
                    word.push_back(n);
                }
            });
            if (ideograph) end_word();
        }
        end_word();
    }

    void append_bytes(TokenId id, std::string& out) const override {
        std::string_view text = vocabulary_.text(id);
        if (text.starts_with(kWordStart)) {
            out.push_back(' ');
            text.remove_prefix(kWordStart.size());
        }
        out.append(text);
    }

    bool adds_space() const noexcept override { return true; }

private:
    // Canonical decomposition without its marks (category Mn), then lower case. The marks' canonical order does not
    // matter, since they go.
    template <class Sink>
    void normalize(char32_t c, Sink&& sink) const {
        const auto lower = [&](char32_t n) {
            if (!lower_case_) return sink(n);
            sink(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(n))));
            // The one character whose lower case is two (SpecialCasing.txt, unconditional).
            if (n == 0x130) sink(char32_t{0x307});
        };
        if (!strip_accents_) return lower(c);
        utf8proc_int32_t parts[8];  // Unicode's longest canonical decomposition has four
        const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 8,
                                                               UTF8PROC_DECOMPOSE, nullptr);
        if (count < 0 || count > 8) return lower(c);
        for (utf8proc_ssize_t i = 0; i < count; ++i) {
            const auto part = static_cast<char32_t>(parts[i]);
            if (category(part) != UTF8PROC_CATEGORY_MN) lower(part);
        }
    }

    void encode_word(const std::vector<char32_t>& word, std::vector<TokenId>& out) const {
        const std::size_t before = out.size();
        bool known = word.size() <= kMaxWordCharacters;
        std::string rest(kWordStart);
        if (known) {
            for (const char32_t c : word) utf8::append(c, rest);
        }
        std::string_view text = rest;
        // The word's start mark alone is no piece.
        std::size_t least = kWordStart.size() + 1;
        while (known && !text.empty()) {
            std::size_t length = std::min(text.size(), vocabulary_.max_token_bytes());
            TokenId id = -1;
            for (; length >= least; --length) {
                const bool boundary =
                    length == text.size() || (static_cast<unsigned char>(text[length]) & 0xC0) != 0x80;
                if (boundary && (id = vocabulary_.find_word(text.substr(0, length))) >= 0) break;
            }
            known = id >= 0;
            if (!known) break;
            out.push_back(id);
            text.remove_prefix(length);
            least = 1;
        }
        if (known) return;
        out.resize(before);
        out.push_back(*vocabulary_.unk);
    }

    const Vocabulary& vocabulary_;
    bool lower_case_;
    bool strip_accents_;
};

}  // namespace

std::unique_ptr<Algorithm> make_wordpiece(const gguf::File& file, const Vocabulary& vocabulary) {
    return std::make_unique<WordPiece>(file, vocabulary);
}

}  // namespace tern::tokenizer
