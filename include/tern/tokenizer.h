// Text to token ids and back, by the vocabulary of a GGUF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tern/export.h>

namespace tern {

namespace gguf {
class File;
}

using TokenId = std::int32_t;

// Longest text that one call of Tokenizer::encode takes: 1 GiB.
inline constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

// The algorithm, from `tokenizer.ggml.model`.
enum class TokenizerKind {
    none,           // "no_vocab": the file has no vocabulary
    sentencepiece,  // "llama": merges by score, bytes where nothing else fits
    unigram,        // "t5": the most probable pieces of the normalised text, by score
    byte_bpe,       // "gpt2": a split pattern, then ranked merges over bytes
    wordpiece,      // "bert": longest match in lower-cased words
};
// "none", "sentencepiece", "unigram", "byte_bpe", "wordpiece".
TERN_API const char* to_string(TokenizerKind kind) noexcept;

// As `tokenizer.ggml.token_type` numbers them.
enum class TokenType : std::uint8_t {
    normal = 1,
    unknown = 2,
    control = 3,       // structure, such as <s>: matched in text only with EncodeOptions::parse_special
    user_defined = 4,  // added words: always matched in text
    unused = 5,
    byte = 6,          // SentencePiece's <0x00> to <0xFF>
};

struct TokenizerOptions {
    // Overrides `tokenizer.ggml.pre`, for files that lack it or carry an unknown name: one of pre_tokenizers().
    // Byte-level BPE only; ignored otherwise.
    std::string pre{};
};

// Bytes [begin, end) of a text.
struct TextRange {
    std::size_t begin = 0;
    std::size_t end = 0;
};

struct EncodeOptions {
    // The tokens that the vocabulary puts at the ends (bos, eos; [CLS] and [SEP]). A bos or eos that the text
    // itself gives at that end (with parse_special) is not doubled.
    bool add_special = true;
    // Text that spells a control token becomes that token. Off for text from users.
    bool parse_special = false;
    // Where parse_special does not apply, ascending and disjoint: a control token that touches one of these ranges is
    // read as text, and so is a user-defined one that ends generation (files differ in how they type those). So a text
    // with parts from users is encoded in one piece, as the model saw it in training.
    std::span<const TextRange> literal{};
};

struct DecodeOptions {
    bool skip_special = false;  // leave out control and unknown tokens
};

// Immutable: use from any number of threads at once. Copies share the vocabulary and cost one reference count.
class TERN_API Tokenizer {
public:
    // Reads the vocabulary; the file may be closed afterwards. A missing, ill-typed or contradictory key is an
    // Error(bad_file) that names it; a model or pre-tokeniser that Tern does not know is an Error(unsupported)
    // that lists those it knows. A file without a vocabulary ("no_vocab") gives a Tokenizer that has a
    // vocab_size() and no texts: its encode, decode and token functions throw Error(unsupported).
    static Tokenizer from_gguf(const gguf::File& file, const TokenizerOptions& options = {});

    // The names that `tokenizer.ggml.pre` and TokenizerOptions::pre may have, aliases included.
    static std::vector<std::string> pre_tokenizers();

    TokenizerKind kind() const noexcept;
    // The name of the split pattern in use ("llama-bpe", even if the file says "llama3"); empty but for byte_bpe.
    std::string_view pre_tokenizer() const noexcept;
    // Rows of the model's output. Ids are 0 to vocab_size() - 1.
    std::size_t vocab_size() const noexcept;

    // Any bytes are accepted. Where the text is not UTF-8, each byte outside a well-formed sequence is encoded by
    // itself (SentencePiece: its byte token, else the unknown token; byte_bpe: as the symbol of its byte, and it
    // splits words as punctuation does; unigram: as U+FFFD; WordPiece: dropped, as the model's own cleaning does). NUL
    // is a character like others (WordPiece drops it). Time is O(n log n), for unigram O(n) times the longest piece. A
    // text over kMaxTextBytes is an Error(invalid_argument); a byte for which the vocabulary has neither a token nor an
    // unknown token is an Error(unsupported) that names it.
    std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const;

    // The inverse of encode: decode(encode(x, {.add_special = false})) is x, byte for byte, for byte_bpe and
    // SentencePiece (a unigram vocabulary gives the normalised text). What the vocabularies themselves lose:
    // SentencePiece's U+2581, which comes back as a space; bytes without a token; white space behind an added token that
    // takes it (Phi-3) or that the file asks to drop.
    // SentencePiece's encode puts a space before a text that begins or follows an added token (user-defined or
    // control); decode takes it out again.
    // Token ids chosen freely can spell bytes that are not UTF-8: they are returned as they are. For text that must
    // be well formed use StreamDecoder. An id out of range is an Error(invalid_argument).
    std::string decode(std::span<const TokenId> tokens, const DecodeOptions& options = {}) const;

    // As stored in the vocabulary (escaped: "\u2581the", "\u0120the", "<0x0A>"). Lives as long as the Tokenizer.
    std::string_view token_text(TokenId id) const;
    // The bytes that the token adds inside a text: " the", "\n". Control and user-defined tokens give their name.
    std::string token_bytes(TokenId id) const;
    TokenType token_type(TokenId id) const;
    float token_score(TokenId id) const;  // 0 where the vocabulary has no scores
    // By stored text (exact).
    std::optional<TokenId> find(std::string_view token_text) const;

    // Empty where the vocabulary has none.
    std::optional<TokenId> bos() const noexcept;
    std::optional<TokenId> eos() const noexcept;
    std::optional<TokenId> eot() const noexcept;  // ends a turn of a conversation
    std::optional<TokenId> unk() const noexcept;
    std::optional<TokenId> pad() const noexcept;
    std::optional<TokenId> sep() const noexcept;
    std::optional<TokenId> cls() const noexcept;
    std::optional<TokenId> mask() const noexcept;

    // What encode adds with add_special (wordpiece: [CLS] and [SEP]).
    bool adds_bos() const noexcept;
    bool adds_eos() const noexcept;

    // eos, eot, and the control tokens that are known to end a reply (<|eot_id|>, <|im_end|>, <|end|>, ...).
    // False for an id out of range.
    bool is_end_of_generation(TokenId id) const noexcept;
    std::span<const TokenId> end_of_generation() const noexcept;  // ascending

private:
    friend class StreamDecoder;
    struct Impl;
    explicit Tokenizer(std::shared_ptr<const Impl> impl) noexcept;
    std::shared_ptr<const Impl> impl_;
};

struct StreamOptions {
    bool skip_special = false;
    // The last token before the stream (of the prompt), so that a space that belongs to the text stays and one that
    // encode put there goes. Absent: the stream begins a text.
    std::optional<TokenId> after{};
};

// Tokens in, well-formed UTF-8 out: a piece never ends inside a code point (its bytes are held until the rest
// comes), and bytes that cannot be part of one become U+FFFD, one for each maximal ill-formed piece (Unicode 15,
// section 3.9). All pieces and flush() together are decode() of the tokens with such bytes replaced.
// One stream per object; not for use by two threads at once.
class TERN_API StreamDecoder {
public:
    explicit StreamDecoder(Tokenizer tokenizer, const StreamOptions& options = {});

    // The text that this token completes; may be empty. An id out of range is an Error(invalid_argument) and leaves
    // the stream as it was.
    std::string feed(TokenId id);
    // The end: U+FFFD if bytes are held, otherwise nothing. Then the stream begins a new text.
    std::string flush();
    // Bytes held back, at most 3.
    std::size_t pending() const noexcept { return held_.size(); }

private:
    Tokenizer tokenizer_;
    bool skip_special_;
    bool text_begins_;  // a leading space is encode's
    std::string held_;
};

}  // namespace tern
