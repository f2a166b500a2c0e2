// An Engine turns requests into text. A Session is the layer below it: token ids in, logits out.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
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

// q8_0: 32 int8 share an f16 scale. q4_0: 32 4-bit numbers do, which costs quality; docs/numerics.md has figures.
enum class KvType { f32, f16, q8_0, q4_0 };

// ---- Session ------------------------------------------------------------------------------------------------------

struct SessionOptions {
    std::uint32_t context = 0;    // positions per sequence; 0: the model's context length
    std::uint32_t sequences = 1;  // sequences that may be alive at once
    KvType kv_type = KvType::f16;
    std::uint32_t batch = 512;    // most tokens computed at once; longer input is cut into pieces (same bits)
    // Called by the constructor with the fraction done, 0 to 1, while it copies weights to graphics devices;
    // not at all where they stay in the file or are there already. Return false to cancel (Error(cancelled)):
    // nothing is kept. A device may be locked meanwhile, so it must not wait for another session or engine.
    std::function<bool(double)> progress{};
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
    // Writes a sequence's tokens and cache to a file, and reads them back in place of what the sequence holds; see
    // Engine::save for the file and the errors. A refused file changes nothing.
    void save(std::uint32_t sequence, const std::filesystem::path& path) const;
    std::vector<TokenId> restore(std::uint32_t sequence, const std::filesystem::path& path);
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
    std::uint32_t batch = 512;     // most tokens computed in one step
    std::uint32_t parallel = 16;   // most sequences that compute at once; further ones wait
    // Tokens of prompts in a step in which others generate. 0: as many as make such a step take about 1.7 times as long
    // as without them, measured while running, and more where many wait for their first token beside few that generate.
    // The results are the same bits.
    std::uint32_t prefill_budget = 0;
    // Host memory, beyond kv_memory, for the pages of sequences that are parked because others need theirs. A sequence
    // for which it does not suffice is computed again when its turn comes: the same bits, but it takes time.
    std::uint64_t park_memory = 0;
    bool prefix_cache = true;  // pages of earlier requests are kept while there is room, and found by their tokens
    std::function<bool(double)> progress{};  // as SessionOptions::progress
};

// What to do with a request that may need more positions than the context has.
enum class ContextPolicy {
    refuse,  // submit() throws Error(context_full) if the prompt and max_tokens together do not fit
    stop,    // generate until the context is full, then end with FinishReason::context_full
    // When the context is full, keep the first `keep` tokens, drop the older half of the others, and rotate the keys of
    // the rest to their new positions. Reply::dropped() counts. What is left was computed when the model still saw the
    // dropped tokens, so the text is not what a new request with the rest would give; it is still the same bits for
    // the same request. Error(unsupported) for models whose positions cannot be moved.
    slide,
};

struct TokenLogprob {
    TokenId token = 0;
    float logprob = 0;  // natural logarithm of the model's own probability, before any option of the sampler
};
struct TokenScore : TokenLogprob {
    std::vector<TokenLogprob> top{};  // the most probable tokens, best first; of equals the lower id
};

// What one or several tokens added to the text. Whole code points only; may be empty for the last piece.
struct Piece {
    std::string text{};
    std::vector<TokenId> tokens{};
    std::vector<TokenScore> scores{};  // one for each token, if the request asked
    std::uint32_t sample = 0;
};

enum class FinishReason {
    stop,          // an end-of-generation token, a stop token or a stop text
    length,        // max_tokens reached
    cancelled,     // cancel() was called, or the engine ended
    context_full,  // the context ended before max_tokens (ContextPolicy::stop)
    timeout,       // Request::timeout passed
    error,         // the engine failed; Reply::error() says how
};
TERN_API const char* to_string(FinishReason reason) noexcept;

// The end of one sample of a request.
struct End {
    std::uint32_t sample = 0;
    FinishReason reason = FinishReason::stop;
    std::optional<Error> error{};
};

struct Request {
    std::string prompt{};                  // text, tokenised with the special tokens the model wants …
    std::vector<TokenId> prompt_tokens{};  // … or ids, used as they are
    bool parse_special = false;            // control tokens written in `prompt` are recognised
    std::uint32_t max_tokens = 256;        // 0: the prompt is computed (and cached), nothing is generated
    SamplerOptions sampling{};
    std::vector<std::string> stop{};       // ends the reply before any of these texts, which are not part of it
    std::vector<TokenId> stop_tokens{};    // ends the reply at any of these tokens, which are not part of it
    bool ignore_end = false;               // go on after an end-of-generation token

    // Answers to generate from the prompt, whose pages they share. Sample i draws with the seed sampling.seed + i, and
    // gives what a request of its own with that seed would give.
    std::uint32_t samples = 1;

    std::int32_t priority = 0;              // greater goes first; the others may be parked for it
    std::chrono::milliseconds timeout{0};   // from submit(); 0: none

    std::optional<std::uint32_t> logprobs{};  // scores of each generated token, with as many alternatives
    bool prompt_logprobs = false;             // Reply::prompt_scores(), with as many alternatives as `logprobs`

    ContextPolicy when_full = ContextPolicy::refuse;
    std::uint32_t keep = 0;  // first tokens that ContextPolicy::slide never drops; at most half the context

    // Only requests of the same salt share cached pages: with a salt per tenant the time to the first token does not
    // tell one what another has asked.
    std::string cache_salt{};
    bool use_cache = true;  // look for a cached beginning of the prompt, and leave this one for others

    // Called on the engine's thread for each piece, which next() then does not give, and once per sample at its end.
    // They may use the engine and replies in any way that does not wait for the engine (submit and cancel are fine). An
    // exception ends the request with FinishReason::error and the exception's text.
    std::function<void(const Piece&)> on_piece{};
    std::function<void(const End&)> on_end{};
};

struct Timings {
    double prompt_ms = 0;       // computing the prompt
    double first_token_ms = 0;  // from submit to the first generated token
    double generate_ms = 0;     // from the first token to the last
    std::uint32_t prompt_tokens = 0;
    std::uint32_t cached_tokens = 0;  // of the prompt, that were found in the prefix cache
    std::uint32_t generated_tokens = 0;  // of all samples
};

// The answer to one request: iterate it, poll it, or wait for all of it. Movable handle; dropping it cancels the request
// unless it was detached. One thread at a time may use a Reply; cancel() may be called from any thread (but not from a
// signal handler: it takes a lock).
class TERN_API Reply {
public:
    Reply(Reply&&) noexcept;
    Reply& operator=(Reply&&) noexcept;
    ~Reply();

    // The next piece of any sample, waiting for it; empty at the end.
    std::optional<Piece> next();
    // The next piece if there is one now. Empty: nothing yet, or done().
    std::optional<Piece> poll();
    bool done() const noexcept;  // all samples have ended and all pieces were taken
    void wait();                 // until all samples have ended
    // Waits for the end and returns the whole text of a sample.
    std::string text(std::uint32_t sample = 0);
    void cancel() noexcept;
    void detach() noexcept;  // the request goes on when this handle is gone

    FinishReason finish_reason(std::uint32_t sample = 0);         // waits for the sample's end
    const std::optional<Error>& error(std::uint32_t sample = 0);  // waits for the sample's end
    const std::vector<TokenId>& prompt_tokens() const noexcept;
    // Generated so far as far as pieces were taken, the end token not included.
    const std::vector<TokenId>& tokens(std::uint32_t sample = 0) const;
    // Scores of the prompt's tokens from the second on (Request::prompt_logprobs); waits for them.
    const std::vector<TokenScore>& prompt_scores();
    std::uint32_t dropped(std::uint32_t sample = 0) const;  // tokens that ContextPolicy::slide has dropped so far
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

// What a part of a model takes where it lies, in bytes: consecutive layers; before the first one lies what turns tokens
// into values, with the last one the output.
struct DevicePlan {
    std::string backend;         // "cpu", "vulkan"
    std::string device;          // its name; "cpu"
    std::uint32_t layers = 0;
    std::uint64_t weights = 0;   // on the CPU mapped from the file; a tensor of two parts counts in both
    std::uint64_t kv = 0;
    std::uint64_t scratch = 0;
    // What may be taken there: of a device its memory, or as much as the driver leaves to this process where
    // it says so, but for a reserve of 5 % (at least 128 MiB) and what is taken already; on the CPU what is
    // available, beside mapped weights. 0: not known.
    std::uint64_t memory = 0;
    bool copied = false;         // a device, to which the weights are copied
    bool fits = true;
    // What but its memory keeps these layers from the device, and what would help: a shader sees too little
    // of a buffer for their KV cache, there is no shader for a format …
    std::string obstacle{};
};

// What an engine will take, in bytes, before it takes it.
struct MemoryPlan {
    std::uint64_t weights = 0;   // of the file
    std::uint64_t kv = 0;        // pages for kv_positions in all
    std::uint64_t scratch = 0;   // intermediate results, logits included
    std::uint64_t park = 0;      // EngineOptions::park_memory
    std::uint64_t total = 0;
    std::uint64_t budget = 0;    // what there is: the runtime's memory_budget, else the memory available; 0: unknown
    std::uint64_t kv_per_token = 0;
    std::uint64_t kv_positions = 0;
    std::uint32_t context = 0;   // of one sequence
    std::uint32_t parallel = 0;  // sequences of the full context that the KV memory holds
    // What would fit in the budget with these weights: the longest context for one sequence and the most sequences of
    // `context`.
    std::uint32_t max_context = 0;
    std::uint32_t max_parallel = 0;
    bool fits = true;                  // everywhere
    std::vector<DevicePlan> devices;   // in the order of the layers; at least one
    // Layers that stay on the CPU because the devices do not hold more; RuntimeOptions::gpu_layers is unset
    // then.
    std::uint32_t layers_left = 0;
    std::string why_left{};  // as DevicePlan::obstacle, of the next layer; empty where it is the memory
    // Where RuntimeOptions::gpu_layers is more than the devices hold: the number that they would.
    std::uint32_t layers_fit = 0;
    // Why `kv` is less than EngineOptions::kv_memory: a device whose shaders see no more. Empty: it is not.
    std::string less_kv{};
};

// A moment of an engine. Every page of the pool is counted once: used, cached or free.
struct EngineStatus {
    std::uint32_t running = 0, waiting = 0, parked = 0;  // sequences
    std::uint32_t pages = 0, pages_used = 0, pages_cached = 0, pages_free = 0;
    std::uint32_t page_positions = 0;
    std::uint64_t positions_used = 0;  // tokens that running sequences hold; shared ones count for each
    std::uint64_t park_bytes = 0;      // host memory of parked sequences
    std::uint64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, parks = 0;  // since the start
};

// Runs requests over one model, on a thread of its own that computes with the runtime's threads. Thread safe: submit from
// any thread. The tokens and scores of a request are the same bits whatever else runs, however its prompt is cut, with a
// cached beginning or without, and if it was parked in between (docs/numerics.md).
class TERN_API Engine {
public:
    // Error(out_of_memory), with the numbers and what would fit, where the plan exceeds the memory available or the
    // runtime's memory budget.
    explicit Engine(Model model, const EngineOptions& options = {});
    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;
    ~Engine();  // ends running requests as cancelled; not from a callback

    // Refuses what cannot be done before it starts: Error(context_full) with the numbers when the prompt, or with
    // ContextPolicy::refuse the prompt and max_tokens, do not fit the context; Error(invalid_argument) for an empty
    // prompt or options out of range.
    Reply submit(Request request);

    // What an engine with these options takes. Nothing is allocated.
    static MemoryPlan plan(const Model& model, const EngineOptions& options = {});
    const MemoryPlan& memory() const noexcept;  // the plan that this engine was built to
    EngineStatus status() const;

    // Writes the KV cache of `tokens` (computing what is not cached) with the tokens and their text to a file, and
    // reads it back into the prefix cache, so that a request that begins with these tokens does not compute them. The
    // file is versioned, checksummed and bound to the model, the KV type and the arithmetic; restore() returns the
    // tokens. Errors: io, not_found; bad_file (cut off, damaged, no such file format, of another model or KV type:
    // says which), out_of_memory (more pages than the pool can free now); all leave the engine as it was. Both wait for
    // the engine. save() replaces a file only when the new one is whole.
    void save(const std::vector<TokenId>& tokens, const std::filesystem::path& path, const std::string& cache_salt = {});
    std::vector<TokenId> restore(const std::filesystem::path& path, const std::string& cache_salt = {});
    void clear_cache();  // forgets the cached pages that no request uses

    std::uint32_t context() const noexcept;
    std::uint64_t kv_bytes() const noexcept;
    const Model& model() const noexcept;

    struct Impl;

private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern
