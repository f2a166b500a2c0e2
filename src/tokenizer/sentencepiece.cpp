// SentencePiece's BPE: characters are the symbols, and of all adjacent pairs whose join is a piece the one with the
// highest score is merged first (Kudo and Richardson, "SentencePiece", 2018; github.com/google/sentencepiece).
#include "tokenizer/algorithm.h"
#include "tokenizer/merges.h"
#include "tokenizer/pieces.h"
#include "tokenizer/utf8.h"

namespace tern::tokenizer {

namespace {

class SentencePiece final : public Algorithm {
public:
    SentencePiece(const gguf::File& file, const Vocabulary& vocabulary)
        : vocabulary_(vocabulary),
          bytes_(file, vocabulary),
          add_space_(file.bool_or("tokenizer.ggml.add_space_prefix", true)),
          drop_extra_spaces_(file.bool_or("tokenizer.ggml.remove_extra_whitespaces", false)) {
        file.get("tokenizer.ggml.scores");  // the algorithm has no meaning without them
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
                after_unknown = bytes_.encode_unknown(piece, after_unknown, out);
            }
        }
    }

    void append_bytes(TokenId id, std::string& out) const override { bytes_.append_bytes(id, out); }

    bool adds_space() const noexcept override { return add_space_; }

private:
    std::string escape(std::string_view text) const {
        std::string out;
        out.reserve(text.size() + kSpacePiece.size());
        if (drop_extra_spaces_) {
            while (text.starts_with(' ')) text.remove_prefix(1);
            while (text.ends_with(' ')) text.remove_suffix(1);
            if (text.empty()) return out;
        }
        if (add_space_) out += kSpacePiece;
        char previous = 0;
        for (const char c : text) {
            if (c != ' ') {
                out.push_back(c);
            } else if (!drop_extra_spaces_ || previous != ' ') {
                out += kSpacePiece;
            }
            previous = c;
        }
        return out;
    }

    const Vocabulary& vocabulary_;
    PieceBytes bytes_;
    bool add_space_;
    bool drop_extra_spaces_;
};

}  // namespace

std::unique_ptr<Algorithm> make_sentencepiece(const gguf::File& file, const Vocabulary& vocabulary) {
    return std::make_unique<SentencePiece>(file, vocabulary);
}

}  // namespace tern::tokenizer
