// An Engine turns requests into text. A Session is the layer below it: token ids in, logits out.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tern/error.h>
#include <tern/export.h>
#include <tern/model.h>
#include <tern/sampler.h>

namespace tern {

enum class KvType { f32, f16, q8_0 };  // q8_0: 32 int8 share an f16 scale

// ---- Session ------------------------------------------------------------------------------------------------------

struct SessionOptions {
    std::uint32_t context = 0;    // positions per sequence; 0: the model's context length
    std::uint32_t sequences = 1;  // sequences that may be alive at once
    KvType kv_type = KvType::f16;
    std::uint32_t batch = 512;    // most tokens computed at once; longer input is cut into pieces (same bits)
};

// Tokens to append to one sequence.
struct Append {
    std::uint32_t sequence = 0;
    std::span<const TokenId> tokens{};
    bool all_logits = false;   // a row of logits per token instead of only for the last
    bool last_logits = true;
};

// Evaluates batches of tokens over its own paged KV cache. Not thread safe; different sessions of a model may run on
// different threads. The same tokens give the same logits, bit for bit, however they are cut into calls or mixed with
// other sequences (docs/numerics.md).
class TERN_API Session {
public:
    explicit Session(Model model, const SessionOptions& options = {});
    Session(Session&&) noexcept;
    Session& operator=(Session&&) noexcept;
    ~Session();

    // Appends to any number of sequences (each named at most once) and returns the rows of logits asked for, in the
    // order of `items`, vocab_size floats each; valid until the next call. Error(invalid_argument): a token id
    // outside the vocabulary, an unknown sequence, no tokens. Error(context_full): the context is too short; then
    // nothing was changed.
    std::span<const float> eval(std::span<const Append> items);
    std::span<const float> eval(std::span<const TokenId> tokens);  // sequence 0, last logits

    std::uint32_t position(std::uint32_t sequence = 0) const;              // tokens it holds
    void truncate(std::uint32_t sequence, std::uint32_t position);         // forget everything from `position`
    std::uint64_t kv_bytes() const noexcept;                               // memory of the cache
    std::uint64_t scratch_bytes() const noexcept;                          // memory of intermediate results
    const Model& model() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// ---- Engine -------------------------------------------------------------------------------------------------------

struct EngineOptions {
    std::uint64_t kv_memory = 0;  // bytes for the KV cache; 0: enough for one request of the full context
    std::uint32_t context = 0;    // most positions of one request; 0: the model's, or what kv_memory holds if less
    KvType kv_type = KvType::f16;
    std::uint32_t batch = 512;    // most tokens computed in one step
};

struct Request {
    std::string prompt{};                  // text, tokenised with the special tokens the model wants …
    std::vector<TokenId> prompt_tokens{};  // … or ids, used as they are
    bool parse_special = false;            // control tokens written in `prompt` are recognised
    std::uint32_t max_tokens = 256;
    SamplerOptions sampling{};
    std::vector<std::string> stop{};  // ends the reply before any of these texts, which are not part of it
    bool ignore_end = false;          // go on after an end-of-generation token
};

enum class FinishReason {
    stop,          // an end-of-generation token or a stop text
    length,        // max_tokens reached
    cancelled,     // cancel() was called
    context_full,  // the context ended before max_tokens
    error,         // the engine failed; Reply::error() says how
};
TERN_API const char* to_string(FinishReason reason) noexcept;

// What one or several tokens added to the text. Whole code points only; may be empty for the last piece.
struct Piece {
    std::string text{};
    std::vector<TokenId> tokens{};
};

struct Timings {
    double prompt_ms = 0;       // computing the prompt
    double first_token_ms = 0;  // from submit to the first generated token
    double generate_ms = 0;     // from the first token to the last
    std::uint32_t prompt_tokens = 0;
    std::uint32_t generated_tokens = 0;
};

// The answer to one request: iterate it, or wait for all of it. Movable handle; dropping it cancels the request.
// One thread at a time may use a Reply; cancel() may be called from any thread.
class TERN_API Reply {
public:
    Reply(Reply&&) noexcept;
    Reply& operator=(Reply&&) noexcept;
    ~Reply();

    // The next piece, waiting for it; empty at the end.
    std::optional<Piece> next();
    // Waits for the end and returns the whole text.
    std::string text();
    void cancel() noexcept;

    FinishReason finish_reason();                      // waits for the end
    const std::optional<Error>& error();               // waits for the end
    const std::vector<TokenId>& prompt_tokens() const noexcept;
    const std::vector<TokenId>& tokens() const noexcept;  // generated so far, end token not included
    Timings timings() const noexcept;

    class Iterator {
    public:
        using value_type = Piece;
        using difference_type = std::ptrdiff_t;
        using iterator_category = std::input_iterator_tag;
        explicit Iterator(Reply* reply) : reply_(reply) { ++*this; }
        const Piece& operator*() const { return *piece_; }
        Iterator& operator++() {
            piece_ = reply_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return !piece_; }

    private:
        Reply* reply_;
        std::optional<Piece> piece_;
    };
    Iterator begin() { return Iterator(this); }
    std::default_sentinel_t end() const { return {}; }

    struct Impl;
    explicit Reply(std::shared_ptr<Impl> impl) noexcept;

private:
    std::shared_ptr<Impl> impl_;
};

// Runs requests over one model. Thread safe: submit from any thread.
class TERN_API Engine {
public:
    explicit Engine(Model model, const EngineOptions& options = {});
    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;
    ~Engine();  // ends running requests as cancelled

    // Refuses what cannot be done before it starts: Error(context_full) with the numbers when the prompt does not
    // fit the context, Error(invalid_argument) for an empty prompt or options out of range.
    Reply submit(Request request);

    std::uint32_t context() const noexcept;
    std::uint64_t kv_bytes() const noexcept;
    const Model& model() const noexcept;

    struct Impl;

private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern
