// Byte-level BPE: a split pattern cuts words, each byte of a word is a symbol, and ranked merges join them
// (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; github.com/openai/gpt-2).
#include <array>
#include <bit>

#include <fmt/format.h>

#include <tern/error.h>

#include "tokenizer/algorithm.h"
#include "tokenizer/merges.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/splitter.h"
#include "tokenizer/utf8.h"

namespace tern::tokenizer {

namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";

// Vocabularies spell each byte as a printable character: those of Latin-1 as themselves, the others from U+0100 on
// in order (bytes_to_unicode in gpt-2's encoder.py).
struct ByteAlphabet {
    std::array<char32_t, 256> character{};
    std::array<std::int16_t, 512> byte{};  // by character; -1: none

    constexpr ByteAlphabet() {
        for (auto& b : byte) b = -1;
        char32_t next = 0x100;
        for (unsigned b = 0; b < 256; ++b) {
            const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
            character[b] = printable ? char32_t{b} : next++;
            byte[character[b]] = static_cast<std::int16_t>(b);
        }
    }
};
constexpr ByteAlphabet kAlphabet;

// Merges by the pair of their parts: open addressing, a merge with id -1 is free.
class MergeTable {
public:
    explicit MergeTable(std::size_t count)
        : slots_(std::bit_ceil(count * 2 + 16)), shift_(64 - std::countr_zero(slots_.size())) {}

    // Keeps the first merge of a pair.
    void insert(TokenId left, TokenId right, Merge<std::uint32_t> merge) {
        Slot& s = slots_[slot(pack(left, right))];
        if (s.merge.id < 0) s = {pack(left, right), merge};
    }
    std::optional<Merge<std::uint32_t>> find(TokenId left, TokenId right) const noexcept {
        const Slot& s = slots_[slot(pack(left, right))];
        return s.merge.id < 0 ? std::nullopt : std::optional(s.merge);
    }

private:
    struct Slot {
        std::uint64_t pair = 0;
        Merge<std::uint32_t> merge{0, -1};
    };
    static std::uint64_t pack(TokenId left, TokenId right) noexcept {
        return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
               static_cast<std::uint32_t>(right);
    }
    // Of the pair, or where it would go. Multiplicative hashing: Knuth, The Art of Computer Programming 3, 6.4.
    std::size_t slot(std::uint64_t pair) const noexcept {
        std::size_t i = static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15u) >> shift_);
        while (slots_[i].merge.id >= 0 && slots_[i].pair != pair) i = (i + 1) & (slots_.size() - 1);
        return i;
    }
    std::vector<Slot> slots_;
    int shift_;
};

class ByteBpe final : public Algorithm {
public:
    ByteBpe(const gguf::File& file, const Vocabulary& vocabulary, const PreTokenizer& pre)
        : vocabulary_(vocabulary),
          splitter_(pre.steps),
          whole_words_(pre.whole_words),
          merges_(static_cast<std::size_t>(file.get(kMergesKey).size())) {
        for (unsigned b = 0; b < 256; ++b) {
            std::string text;
            utf8::append(kAlphabet.character[b], text);
            byte_tokens_[b] = vocabulary.find_word(text);
        }
        read_merges(file);
    }

    void encode(std::string_view text, std::vector<TokenId>& out) const override {
        std::vector<std::size_t> ends;
        splitter_.split(text, ends);
        MergeSpace<std::uint32_t> space;
        std::string escaped;
        std::size_t begin = 0;
        for (const std::size_t end : ends) {
            encode_word(text.substr(begin, end - begin), space, escaped, out);
            begin = end;
        }
    }

    void append_bytes(TokenId id, std::string& out) const override {
        const std::string_view text = vocabulary_.text(id);
        for (std::size_t pos = 0; pos < text.size();) {
            const utf8::CodePoint c = utf8::decode(text, pos);
            const std::int16_t byte =
                c.valid && c.value < kAlphabet.byte.size() ? kAlphabet.byte[c.value] : std::int16_t{-1};
            // Words added to a vocabulary by hand may hold characters outside the alphabet: they stand for themselves.
            if (byte >= 0) {
                out.push_back(static_cast<char>(byte));
            } else {
                out.append(text.substr(pos, c.length));
            }
            pos += c.length;
        }
    }

    bool adds_space() const noexcept override { return false; }

private:
    void read_merges(const gguf::File& file) {
        const std::vector<std::string_view> merges = file.get(kMergesKey).as_strings();
        std::string joined;
        for (std::size_t rank = 0; rank < merges.size(); ++rank) {
            const auto fail = [&](std::string_view problem) {
                throw Error(ErrorCode::bad_file, fmt::format("{}: key '{}': merge {} ('{}') {}", file.name(),
                                                             kMergesKey, rank, merges[rank], problem));
            };
            const std::size_t space = merges[rank].find(' ', 1);
            if (space == std::string_view::npos || space + 1 == merges[rank].size()) {
                fail("is not two tokens separated by a space");
            }
            const std::string_view parts[2] = {merges[rank].substr(0, space), merges[rank].substr(space + 1)};
            joined.assign(parts[0]).append(parts[1]);
            const TokenId left = vocabulary_.find(parts[0]);
            const TokenId right = vocabulary_.find(parts[1]);
            const TokenId id = vocabulary_.find(joined);
            if (left < 0 || right < 0 || id < 0) fail("names or makes a token that the vocabulary lacks");
            merges_.insert(left, right, {static_cast<std::uint32_t>(rank), id});
        }
    }

    TokenId byte_token(unsigned char byte) const {
        const TokenId id = byte_tokens_[byte];
        if (id >= 0) return id;
        if (vocabulary_.unk) return *vocabulary_.unk;
        throw Error(ErrorCode::unsupported,
                    fmt::format("encoding text: the vocabulary has no token for byte 0x{:02X} and no unknown token",
                                byte));
    }

    void encode_word(std::string_view word, MergeSpace<std::uint32_t>& space, std::string& escaped,
                     std::vector<TokenId>& out) const {
        if (whole_words_ && word.size() <= vocabulary_.max_token_bytes()) {
            escaped.clear();
            for (const char c : word) utf8::append(kAlphabet.character[static_cast<unsigned char>(c)], escaped);
            if (const TokenId id = vocabulary_.find_word(escaped); id >= 0) {
                out.push_back(id);
                return;
            }
        }
        space.clear();
        for (std::size_t i = 0; i < word.size(); ++i) {
            space.append(static_cast<std::uint32_t>(i), 1, byte_token(static_cast<unsigned char>(word[i])));
        }
        merge_symbols(space, [&](const Symbol& left, const Symbol& right) {
            return merges_.find(left.id, right.id);
        });
        for (std::uint32_t i = 0; i != kNoSymbol; i = space.symbols[i].next) out.push_back(space.symbols[i].id);
    }

    const Vocabulary& vocabulary_;
    Splitter splitter_;
    bool whole_words_;
    MergeTable merges_;
    std::array<TokenId, 256> byte_tokens_{};
};

}  // namespace

std::unique_ptr<Algorithm> make_byte_bpe(const gguf::File& file, const Vocabulary& vocabulary,
                                         const PreTokenizer& pre) {
    return std::make_unique<ByteBpe>(file, vocabulary, pre);
}

}  // namespace tern::tokenizer
