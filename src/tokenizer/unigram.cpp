// SentencePiece's unigram model: of all ways to cut a text into pieces the one whose scores, logarithms of the
// pieces' probabilities, have the greatest sum (Kudo, "Subword Regularization", 2018; github.com/google/sentencepiece:
// normalizer.cc, unigram_model.cc).
#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

#include <tern/error.h>

#include "tokenizer/algorithm.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/pieces.h"
#include "tokenizer/utf8.h"

namespace tern::tokenizer {

namespace {

constexpr double kUnknownPenalty = 10.0;  // an unknown character is this much worse than the worst piece

class Unigram final : public Algorithm {
public:
    Unigram(const gguf::File& file, const Vocabulary& vocabulary)
        : vocabulary_(vocabulary),
          bytes_(file, vocabulary),
          charsmap_(file),
          add_space_(file.bool_or("tokenizer.ggml.add_space_prefix", true)),
          drop_extra_spaces_(file.bool_or("tokenizer.ggml.remove_extra_whitespaces", true)) {
        file.get("tokenizer.ggml.scores");  // the algorithm has no meaning without them
        double worst = std::numeric_limits<double>::max();
        for (std::size_t i = 0; i < vocabulary.size(); ++i) {
            const auto id = static_cast<TokenId>(i);
            const TokenType type = vocabulary.type(id);
            if (type == TokenType::normal) worst = std::min(worst, double{vocabulary.score(id)});
            const bool piece = type == TokenType::normal || type == TokenType::user_defined;
            if (piece && !vocabulary.text(id).empty()) sorted_.push_back(id);
        }
        if (sorted_.empty()) {
            throw Error(ErrorCode::bad_file,
                        fmt::format("{}: key 'tokenizer.ggml.token_type': no token is a piece of text", file.name()));
        }
        unknown_score_ = worst - kUnknownPenalty;
        std::sort(sorted_.begin(), sorted_.end(),
                  [&](TokenId a, TokenId b) { return vocabulary.text(a) < vocabulary.text(b); });
        std::size_t begin = 0;
        for (unsigned byte = 0; byte < 256; ++byte) {
            std::size_t end = begin;
            while (end < sorted_.size() && static_cast<unsigned char>(vocabulary.text(sorted_[end])[0]) == byte) ++end;
            by_first_byte_[byte] = {begin, end};
            begin = end;
        }
    }

    void encode(std::string_view text, std::vector<TokenId>& out) const override {
        const std::string normal = normalize(text);
        // By the byte where a cut may be: the last piece of the best way to get there.
        struct Best {
            double score = -std::numeric_limits<double>::infinity();
            std::size_t from = 0;
            TokenId id = -1;  // unknown
        };
        std::vector<Best> best(normal.size() + 1);
        best[0].score = 0;
        for (std::size_t pos = 0; pos < normal.size();) {
            const utf8::CodePoint c = utf8::decode(normal, pos);
            const std::size_t length = c.valid ? c.length : 1;
            const double here = best[pos].score;
            const auto offer = [&](std::size_t end, TokenId id, double score) {
                if (here + score > best[end].score) best[end] = {here + score, pos, id};
            };
            bool known = false;
            for_each_piece(normal, pos, [&](std::size_t end, TokenId id) {
                const bool own = vocabulary_.type(id) == TokenType::user_defined;
                offer(end, id, own ? 0.0 : double{vocabulary_.score(id)});
                known = known || end == pos + length;
            });
            if (!known) offer(pos + length, -1, unknown_score_);
            pos += length;
        }
        std::vector<Best> path;
        std::vector<std::size_t> ends;
        for (std::size_t end = normal.size(); end > 0; end = path.back().from) {
            path.push_back(best[end]);
            ends.push_back(end);
        }
        bool after_unknown = false;
        for (std::size_t i = path.size(); i-- > 0;) {
            if (path[i].id >= 0) {
                out.push_back(path[i].id);
                after_unknown = false;
            } else {
                const std::string_view piece = std::string_view(normal).substr(path[i].from, ends[i] - path[i].from);
                after_unknown = bytes_.encode_unknown(piece, after_unknown, out);
            }
        }
    }

    void append_bytes(TokenId id, std::string& out) const override { bytes_.append_bytes(id, out); }

    bool adds_space() const noexcept override { return add_space_; }

private:
    // Calls back with the end of every piece that begins at `pos`, shortest first.
    template <class Sink>
    void for_each_piece(std::string_view text, std::size_t pos, Sink&& sink) const {
        auto [begin, end] = by_first_byte_[static_cast<unsigned char>(text[pos])];
        for (std::size_t depth = 1; begin < end; ++depth) {
            // All of the range begin with text.substr(pos, depth); the one that is no longer stands first.
            if (vocabulary_.text(sorted_[begin]).size() == depth) sink(pos + depth, sorted_[begin++]);
            if (pos + depth == text.size()) return;
            const auto next = static_cast<unsigned char>(text[pos + depth]);
            const auto first = sorted_.begin() + static_cast<std::ptrdiff_t>(begin);
            const auto last = sorted_.begin() + static_cast<std::ptrdiff_t>(end);
            const auto byte = [&](TokenId id) { return static_cast<unsigned char>(vocabulary_.text(id)[depth]); };
            const auto low = std::partition_point(first, last, [&](TokenId id) { return byte(id) < next; });
            const auto high = std::partition_point(low, last, [&](TokenId id) { return byte(id) == next; });
            begin = static_cast<std::size_t>(low - sorted_.begin());
            end = static_cast<std::size_t>(high - sorted_.begin());
        }
    }

    std::string normalize(std::string_view text) const {
        std::string out;
        out.reserve(text.size() + text.size() / 4 + kSpacePiece.size());
        bool begun = false;
        bool after_space = drop_extra_spaces_;  // further spaces are dropped
        const auto begin = [&] {
            if (!begun && add_space_) out += kSpacePiece;
            begun = true;
        };
        if (!drop_extra_spaces_) begin();
        for (std::size_t pos = 0; pos < text.size();) {
            std::string_view part;
            if (const CharsMap::Match match = charsmap_.longest(text, pos); match.length > 0) {
                part = match.replacement;
                pos += match.length;
            } else {
                const utf8::CodePoint c = utf8::decode(text, pos);
                part = c.valid ? text.substr(pos, c.length) : utf8::kReplacementBytes;
                pos += c.valid ? c.length : 1;
            }
            for (const char c : part) {
                if (c != ' ') {
                    begin();
                    out.push_back(c);
                } else if (!after_space) {
                    out += kSpacePiece;
                }
                after_space = drop_extra_spaces_ && c == ' ';
            }
        }
        if (drop_extra_spaces_ && begun && out.ends_with(kSpacePiece) && after_space) {
            out.resize(out.size() - kSpacePiece.size());
        }
        return out;
    }

    const Vocabulary& vocabulary_;
    PieceBytes bytes_;
    CharsMap charsmap_;
    bool add_space_;
    bool drop_extra_spaces_;
    double unknown_score_ = 0;
    std::vector<TokenId> sorted_;  // the pieces, by text
    std::array<std::pair<std::size_t, std::size_t>, 256> by_first_byte_{};
};

}  // namespace

std::unique_ptr<Algorithm> make_unigram(const gguf::File& file, const Vocabulary& vocabulary) {
    return std::make_unique<Unigram>(file, vocabulary);
}

}  // namespace tern::tokenizer
