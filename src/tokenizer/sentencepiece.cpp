// SentencePiece's BPE: characters are the symbols, and of all adjacent pairs whose join is a piece the one with the
// highest score is merged first (Kudo and Richardson, "SentencePiece", 2018; github.com/google/sentencepiece).
#include <array>

#include <fmt/format.h>

#include <tern/error.h>

#include "tokenizer/algorithm.h"
#include "tokenizer/merges.h"
#include "tokenizer/utf8.h"

namespace tern::tokenizer {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, which stands for a space in pieces

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

// The byte of "<0x0A>"; -1 if the text is another.
int parse_byte(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
    const int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

class SentencePiece final : public Algorithm {
public:
    SentencePiece(const gguf::File& file, const Vocabulary& vocabulary)
        : vocabulary_(vocabulary),
          add_space_(file.bool_or("tokenizer.ggml.add_space_prefix", true)),
          drop_extra_spaces_(file.bool_or("tokenizer.ggml.remove_extra_whitespaces", false)) {
        file.get("tokenizer.ggml.scores");  // the algorithm has no meaning without them
        byte_tokens_.fill(-1);
        for (std::size_t i = 0; i < vocabulary.size(); ++i) {
            const auto id = static_cast<TokenId>(i);
            if (vocabulary.type(id) != TokenType::byte) continue;
            const int byte = parse_byte(vocabulary.text(id));
            if (byte < 0) {
                throw Error(ErrorCode::bad_file,
                            fmt::format("{}: key 'tokenizer.ggml.token_type': token {} is of type byte, but its text "
                                        "'{}' is not of the form <0x00>",
                                        file.name(), id, vocabulary.text(id)));
            }
            byte_tokens_[static_cast<std::size_t>(byte)] = id;
        }
    }

    void encode(std::string_view text, std::vector<TokenId>& out) const override {
        const std::string escaped = escape(text);
        MergeSpace<float> space;
        space.symbols.reserve(escaped.size());
        for (std::size_t pos = 0; pos < escaped.size();) {
            const utf8::CodePoint c = utf8::decode(escaped, pos);
            const std::size_t length = c.valid ? c.length : 1;
            space.append(static_cast<std::uint32_t>(pos), static_cast<std::uint32_t>(length), -1);
            pos += length;
        }
        if (space.symbols.empty()) return;
        merge_symbols(space, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge<float>> {
            const TokenId id =
                vocabulary_.find_word(std::string_view(escaped).substr(left.begin, left.size + right.size));
            if (id < 0) return std::nullopt;
            return Merge<float>{-vocabulary_.score(id), id};
        });
        bool after_unknown = false;
        for (std::uint32_t i = 0; i != kNoSymbol; i = space.symbols[i].next) {
            const Symbol& s = space.symbols[i];
            const std::string_view piece = std::string_view(escaped).substr(s.begin, s.size);
            const TokenId id = s.id >= 0 ? s.id : vocabulary_.find_word(piece);
            if (id >= 0) {
                out.push_back(id);
                after_unknown = false;
            } else {
                after_unknown = encode_unknown(piece, after_unknown, out);
            }
        }
    }

    void append_bytes(TokenId id, std::string& out) const override {
        std::string_view text = vocabulary_.text(id);
        if (vocabulary_.type(id) == TokenType::byte) {
            out.push_back(static_cast<char>(parse_byte(text)));
            return;
        }
        for (std::size_t pos; (pos = text.find(kSpace)) != std::string_view::npos;) {
            out.append(text.substr(0, pos)).push_back(' ');
            text.remove_prefix(pos + kSpace.size());
        }
        out.append(text);
    }

    bool adds_space() const noexcept override { return add_space_; }

private:
    std::string escape(std::string_view text) const {
        std::string out;
        out.reserve(text.size() + kSpace.size());
        if (drop_extra_spaces_) {
            while (text.starts_with(' ')) text.remove_prefix(1);
            while (text.ends_with(' ')) text.remove_suffix(1);
            if (text.empty()) return out;
        }
        if (add_space_) out += kSpace;
        char previous = 0;
        for (const char c : text) {
            if (c != ' ') {
                out.push_back(c);
            } else if (!drop_extra_spaces_ || previous != ' ') {
                out += kSpace;
            }
            previous = c;
        }
        return out;
    }

    // A piece outside the vocabulary: its bytes if all of them have tokens, otherwise the unknown token, one for
    // neighbours together, as SentencePiece does. Returns whether it was unknown.
    bool encode_unknown(std::string_view piece, bool after_unknown, std::vector<TokenId>& out) const {
        const std::size_t before = out.size();
        for (const char c : piece) {
            const TokenId id = byte_tokens_[static_cast<unsigned char>(c)];
            if (id >= 0) {
                out.push_back(id);
                continue;
            }
            out.resize(before);
            if (!vocabulary_.unk) {
                throw Error(ErrorCode::unsupported,
                            fmt::format("encoding text: the vocabulary has no token for byte 0x{:02X} and no unknown "
                                        "token",
                                        static_cast<unsigned char>(c)));
            }
            if (!after_unknown) out.push_back(*vocabulary_.unk);
            return true;
        }
        return false;
    }

    const Vocabulary& vocabulary_;
    bool add_space_;
    bool drop_extra_spaces_;
    std::array<TokenId, 256> byte_tokens_{};
};

}  // namespace

std::unique_ptr<Algorithm> make_sentencepiece(const gguf::File& file, const Vocabulary& vocabulary) {
    return std::make_unique<SentencePiece>(file, vocabulary);
}

}  // namespace tern::tokenizer
