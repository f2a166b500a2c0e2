// Decides what each step computes: one token of every sequence that generates, then pieces of prompts. It runs on the
// engine's thread only.
#pragma once

#include <list>
#include <mutex>

#include "engine/machine.h"
#include "engine/reply.h"
#include "engine/sequence.h"
#include "kv/prefix_cache.h"

namespace tern::engine {

class Scheduler {
public:
    Scheduler(Machine& machine, const EngineOptions& options, std::uint32_t vocab);

    bool idle() const noexcept { return waiting_.empty() && active_.empty(); }
    // Takes all sequences of the list.
    void add(std::list<Sequence>& sequences) noexcept;
    // `look`: some request was cancelled. Never throws: what fails ends the requests concerned.
    void step(bool look) noexcept;
    void end_all() noexcept;
    // For any thread.
    EngineStatus status() const;

    // The cache of `tokens`, which must be there as a whole, written to a file.
    void save(std::span<const TokenId> tokens, const std::filesystem::path& path, std::string_view salt);
    std::vector<TokenId> restore(const std::filesystem::path& path, std::string_view salt);
    void clear_cache() noexcept;

private:
    using List = std::list<Sequence>;
    struct Part {
        Sequence* sequence;
        std::uint32_t first_output, outputs;  // rows of logits
        std::uint32_t begin, count;           // positions
    };

    void sweep(bool look) noexcept;
    void admit() noexcept;
    bool start(Sequence& s) noexcept;
    std::uint32_t promised() const noexcept;
    bool make_room(std::uint32_t pages) noexcept;
    bool make_room_for(Sequence& s, std::uint32_t length) noexcept;
    void park(List::iterator it) noexcept;
    void insert(List& list, List& from, List::iterator it) noexcept;
    void plan_step() noexcept;
    void schedule(Sequence& s, std::uint32_t count);
    std::uint32_t prompt_budget(std::uint32_t decoding) const noexcept;
    void learn(std::uint32_t decoding, std::uint32_t prompt, double ms) noexcept;
    void slide(Sequence& s);
    void remember(Sequence& s) noexcept;
    void after(const Part& part, std::span<const float> logits) noexcept;
    void score_prompt(Sequence& s, const Part& part, std::span<const float> logits);
    void accept(Sequence& s, std::span<const float> logits) noexcept;
    void fork(Sequence& s, std::span<const float> logits) noexcept;
    TokenScore score(std::span<const float> logits, TokenId token, std::uint32_t top);
    void emit(Sequence& s, std::string text);
    void release(Sequence& s, bool keep) noexcept;
    void finish(Sequence& s, FinishReason reason, bool whole = true, const Error* error = nullptr) noexcept;
    void fail(Sequence& s, const Error& error) noexcept { finish(s, FinishReason::error, true, &error); }
    void drop_ended(List& list) noexcept;
    void publish() noexcept;
    std::span<const float> row(std::span<const float> logits, std::size_t i) const noexcept {
        return logits.subspan(i * machine_.vocab_size(), vocab_);
    }

    Machine& machine_;
    const EngineOptions options_;
    const std::uint32_t vocab_, groups_, parallel_;
    bool any_window_ = false;
    std::uint64_t identity_ = 0;
    kv::PrefixCache cache_;
    List waiting_, active_;  // by priority, then by arrival
    std::uint64_t arrivals_ = 0;
    bool starved_ = false;        // a sequence got no pages although later ones have some
    bool any_deadline_ = false;

    // Of the step.
    std::vector<TokenId> tokens_;
    std::vector<backend::Segment> segments_;
    std::vector<std::uint32_t> outputs_;
    std::vector<Part> parts_;
    std::vector<Sequence*> prompts_;

    // Milliseconds of a step that only decodes, by its number of sequences; of a prompt's token beside it.
    std::vector<double> decode_ms_;
    double prompt_token_ms_ = 0;
    std::uint32_t mixed_steps_ = 0;  // steps in a row that computed both

    std::uint64_t park_bytes_ = 0;
    std::uint32_t parked_ = 0;
    mutable std::mutex status_mutex_;
    EngineStatus status_{};   // published
    EngineStatus counters_{};
};

}  // namespace tern::engine
