// Requests share each step: one token of every sequence that generates, then pieces of the prompts that wait, up to
// the batch. There is no thread of the engine's own: whoever waits for a reply runs the steps for everybody.
#include <fmt/format.h>
#include <tern/engine.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <list>
#include <mutex>
#include <new>

#include "backend/runtime_impl.h"
#include "engine/machine.h"

namespace tern {
namespace {

using Clock = std::chrono::steady_clock;

double ms(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// Holds text back as long as it may be the beginning of a stop text.
class StopFilter {
public:
    explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

    // Text that is safe to pass on; sets `stopped` when a stop text was found (what comes before it is returned).
    std::string feed(const std::string& text, bool& stopped) {
        if (stops_.empty()) return text;
        held_ += text;
        std::size_t at = std::string::npos;
        for (const std::string& stop : stops_) at = std::min(at, held_.find(stop));
        stopped = at != std::string::npos;
        std::size_t safe = at;
        if (!stopped) {
            safe = held_.size();
            for (const std::string& stop : stops_)
                for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > 0; --n)
                    if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
                        safe = std::min(safe, held_.size() - n);
                        break;
                    }
        }
        std::string out = held_.substr(0, safe);
        held_.erase(0, safe);
        return out;
    }
    std::string flush() { return std::exchange(held_, {}); }

private:
    std::vector<std::string> stops_;
    std::string held_;
};

}  // namespace

const char* to_string(FinishReason reason) noexcept {
    switch (reason) {
        case FinishReason::stop: return "stop";
        case FinishReason::length: return "length";
        case FinishReason::cancelled: return "cancelled";
        case FinishReason::context_full: return "context_full";
        case FinishReason::error: return "error";
    }
    return "unknown";
}

// Outlives the engine as long as a reply does. `engine` is null once the engine is gone.
struct Link {
    std::mutex mutex;
    Engine::Impl* engine = nullptr;
};

struct Reply::Impl {
    Impl(std::shared_ptr<Link> l, const Model& model, Request r, std::vector<TokenId> ids, std::uint32_t vocab)
        : link(std::move(l)), request(std::move(r)), prompt(std::move(ids)), sampler(request.sampling, vocab),
          stop(std::move(request.stop)) {
        if (model.tokenizer().kind() != TokenizerKind::none)
            decoder.emplace(model.tokenizer(), StreamOptions{.skip_special = true, .after = prompt.back()});
        sampler.accept(std::span<const TokenId>(prompt.data(), prompt.size()));
    }

    const std::shared_ptr<Link> link;
    std::atomic<bool> cancelled{false};
    std::vector<TokenId> seen;  // the caller's copy of `generated`

    // All that follows is guarded by link->mutex.
    Request request;
    std::vector<TokenId> prompt;
    Sampler sampler;
    StopFilter stop;
    std::optional<StreamDecoder> decoder;
    std::optional<kv::PageTable> table;  // while active
    std::uint32_t reserved = 0;          // pages set aside for it and not yet taken
    TokenId pending = 0;                 // sampled, not yet evaluated
    std::vector<TokenId> generated;
    std::vector<TokenId> unseen;  // generated since the last piece
    std::deque<Piece> pieces;
    bool finished = false;
    FinishReason reason = FinishReason::stop;
    std::optional<Error> error;
    Clock::time_point submitted = Clock::now(), started{}, first_token{}, last_token{};

    void emit(std::string text) {
        if (text.empty()) return;
        pieces.push_back({std::move(text), std::exchange(unseen, {})});
    }
};

struct Engine::Impl {
    explicit Impl(Model model, const EngineOptions& o)
        : machine(std::move(model), {.context = o.context, .kv_memory = o.kv_memory, .kv_type = o.kv_type, .batch = o.batch}) {
        const std::size_t words = machine.model().tokenizer().vocab_size();
        vocab = machine.vocab_size();
        // Rows beyond the vocabulary are padding and never chosen.
        if (machine.model().tokenizer().kind() != TokenizerKind::none && words > 0)
            vocab = std::min(vocab, static_cast<std::uint32_t>(words));
        link->engine = this;
    }

    const std::shared_ptr<Link> link = std::make_shared<Link>();  // its mutex guards all that follows
    engine::Machine machine;
    std::uint32_t vocab = 0;
    std::list<std::shared_ptr<Reply::Impl>> waiting, active;
    std::uint32_t reserved = 0;  // pages promised to active requests and not yet taken
    std::vector<TokenId> tokens;
    std::vector<backend::Segment> segments;
    std::vector<std::uint32_t> outputs;
    struct Part {
        Reply::Impl* reply;
        bool output;
    };
    std::vector<Part> parts;

    // `whole`: text held back so far is part of the reply (after a stop text it is not).
    void finish(Reply::Impl& r, FinishReason reason, bool whole = true) {
        if (r.finished) return;
        r.finished = true;
        r.reason = reason;
        try {
            if (whole) {
                bool stopped = false;
                std::string tail = r.decoder ? r.stop.feed(r.decoder->flush(), stopped) : std::string();
                if (!stopped) tail += r.stop.flush();
                r.emit(std::move(tail));
            }
        } catch (const std::bad_alloc&) {
            r.error = Error(ErrorCode::out_of_memory, "no memory for the end of the text");
            r.reason = FinishReason::error;
        }
        reserved -= r.reserved;
        r.reserved = 0;
        r.table.reset();
    }

    void fail(Reply::Impl& r, Error error) {
        r.error = std::move(error);
        finish(r, FinishReason::error);
    }

    // Takes the ended out of the lists, and admits those whose whole need is free.
    void admit() {
        const auto drop = [&](std::list<std::shared_ptr<Reply::Impl>>& list) {
            list.remove_if([&](const std::shared_ptr<Reply::Impl>& r) {
                if (r->cancelled) finish(*r, FinishReason::cancelled);
                return r->finished;
            });
        };
        drop(active);
        drop(waiting);
        while (!waiting.empty()) {
            Reply::Impl& r = *waiting.front();
            const std::uint64_t most = std::min<std::uint64_t>(machine.context(), r.prompt.size() + r.request.max_tokens);
            r.table.emplace(machine.pool());
            const std::uint32_t need = r.table->pages_needed(static_cast<std::uint32_t>(most));
            if (need > machine.pool().free_pages() - reserved) {
                r.table.reset();
                break;
            }
            r.reserved = need;
            reserved += need;
            active.splice(active.end(), waiting, waiting.begin());
        }
    }

    void add(Reply::Impl& r, std::span<const TokenId> ids, bool output) {
        const std::uint32_t position = r.table->length();
        const std::uint32_t taken = r.table->pages_needed(position + static_cast<std::uint32_t>(ids.size()));
        r.table->resize(position + static_cast<std::uint32_t>(ids.size()));
        r.reserved -= taken;
        reserved -= taken;
        const auto first = static_cast<std::uint32_t>(tokens.size());
        segments.push_back({first, static_cast<std::uint32_t>(ids.size()), position, r.table->pages()});
        tokens.insert(tokens.end(), ids.begin(), ids.end());
        if (output) outputs.push_back(static_cast<std::uint32_t>(tokens.size()) - 1);
        parts.push_back({&r, output});
    }

    // One step for everybody. The mutex is held.
    void step() {
        admit();
        tokens.clear();
        segments.clear();
        outputs.clear();
        parts.clear();
        for (const auto& r : active)
            if (r->table->length() >= r->prompt.size() && tokens.size() < machine.batch())
                add(*r, {&r->pending, 1}, true);
        for (const auto& r : active) {
            const std::size_t done = r->table->length();
            const std::size_t room = machine.batch() - tokens.size();
            if (done >= r->prompt.size() || room == 0) continue;
            if (done == 0) r->started = Clock::now();
            const std::size_t count = std::min(r->prompt.size() - done, room);
            add(*r, std::span<const TokenId>(r->prompt).subspan(done, count), done + count == r->prompt.size());
        }
        if (parts.empty()) return;
        std::span<const float> logits;
        try {
            logits = machine.run({tokens, segments, outputs});
        } catch (const Error& e) {
            for (const Part& part : parts) fail(*part.reply, e);
            return;
        } catch (const std::bad_alloc&) {
            for (const Part& part : parts) fail(*part.reply, Error(ErrorCode::out_of_memory, "no memory for a step"));
            return;
        }
        const std::size_t stride = machine.vocab_size();
        std::size_t row = 0;
        for (const Part& part : parts)
            if (part.output) accept(*part.reply, logits.subspan(row++ * stride, vocab));
    }

    // The next token of one request.
    void accept(Reply::Impl& r, std::span<const float> logits) {
        try {
            const TokenId id = r.sampler.sample(logits);
            const Clock::time_point now = Clock::now();
            if (r.generated.empty()) r.first_token = now;
            r.last_token = now;
            const Tokenizer& tokenizer = machine.model().tokenizer();
            if (!r.request.ignore_end && tokenizer.kind() != TokenizerKind::none && tokenizer.is_end_of_generation(id))
                return finish(r, FinishReason::stop);
            r.sampler.accept(id);
            r.generated.push_back(id);
            r.unseen.push_back(id);
            r.pending = id;
            if (r.decoder) {
                bool stopped = false;
                r.emit(r.stop.feed(r.decoder->feed(id), stopped));
                if (stopped) return finish(r, FinishReason::stop, false);
            } else {
                r.pieces.push_back({{}, std::exchange(r.unseen, {})});
            }
            if (r.generated.size() >= r.request.max_tokens) return finish(r, FinishReason::length);
            if (r.table->length() >= machine.context()) return finish(r, FinishReason::context_full);
        } catch (const Error& e) {
            fail(r, e);
        } catch (const std::bad_alloc&) {
            fail(r, Error(ErrorCode::out_of_memory, "no memory for the reply"));
        }
    }
};

// ---- Reply --------------------------------------------------------------------------------------------------------

Reply::Reply(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Reply::Reply(Reply&&) noexcept = default;
Reply& Reply::operator=(Reply&& other) noexcept {
    if (this != &other) {
        Reply old(std::move(*this));
        impl_ = std::move(other.impl_);
    }
    return *this;
}

Reply::~Reply() {
    if (!impl_) return;
    cancel();
    // Gives the pages back now instead of at somebody's next step.
    const std::lock_guard lock(impl_->link->mutex);
    if (impl_->link->engine) impl_->link->engine->admit();
}

std::optional<Piece> Reply::next() {
    Impl& r = *impl_;
    // Others who wait for this engine take turns at the steps: the lock is given up between them.
    for (;;) {
        const std::lock_guard lock(r.link->mutex);
        if (r.cancelled && !r.finished && r.link->engine) r.link->engine->admit();
        r.seen.insert(r.seen.end(), r.generated.begin() + static_cast<std::ptrdiff_t>(r.seen.size()), r.generated.end());
        if (!r.pieces.empty()) {
            Piece piece = std::move(r.pieces.front());
            r.pieces.pop_front();
            return piece;
        }
        if (r.finished || !r.link->engine) return std::nullopt;
        r.link->engine->step();
    }
}

std::string Reply::text() {
    std::string all;
    while (std::optional<Piece> piece = next()) all += piece->text;
    return all;
}

void Reply::cancel() noexcept {
    if (impl_) impl_->cancelled = true;
}

FinishReason Reply::finish_reason() {
    Impl& r = *impl_;
    for (;;) {
        const std::lock_guard lock(r.link->mutex);
        if (r.cancelled && !r.finished && r.link->engine) r.link->engine->admit();
        r.seen.insert(r.seen.end(), r.generated.begin() + static_cast<std::ptrdiff_t>(r.seen.size()), r.generated.end());
        if (r.finished || !r.link->engine) return r.reason;
        r.link->engine->step();
    }
}

const std::optional<Error>& Reply::error() {
    finish_reason();
    return impl_->error;
}

const std::vector<TokenId>& Reply::prompt_tokens() const noexcept { return impl_->prompt; }
const std::vector<TokenId>& Reply::tokens() const noexcept { return impl_->seen; }

Timings Reply::timings() const noexcept {
    const Impl& r = *impl_;
    const std::lock_guard lock(r.link->mutex);
    Timings t;
    t.prompt_tokens = static_cast<std::uint32_t>(r.prompt.size());
    t.generated_tokens = static_cast<std::uint32_t>(r.generated.size());
    if (r.first_token == Clock::time_point{}) return t;
    t.prompt_ms = ms(r.first_token - r.started);
    t.first_token_ms = ms(r.first_token - r.submitted);
    t.generate_ms = ms(r.last_token - r.first_token);
    return t;
}

// ---- Engine -------------------------------------------------------------------------------------------------------

Engine::Engine(Model model, const EngineOptions& options) : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&& other) noexcept {
    if (this != &other) {
        Engine old(std::move(*this));
        impl_ = std::move(other.impl_);
    }
    return *this;
}

Engine::~Engine() {
    if (!impl_) return;
    const std::shared_ptr<Link> link = impl_->link;
    const std::lock_guard lock(link->mutex);
    for (auto* list : {&impl_->waiting, &impl_->active})
        for (const auto& r : *list) r->cancelled = true;
    impl_->admit();
    link->engine = nullptr;
}

Reply Engine::submit(Request request) {
    Impl& e = *impl_;
    const Model& model = e.machine.model();
    if (!request.prompt.empty() && !request.prompt_tokens.empty())
        throw Error(ErrorCode::invalid_argument, "a request has a prompt or prompt_tokens, not both");
    std::vector<TokenId> ids = std::move(request.prompt_tokens);
    if (!request.prompt.empty())
        ids = model.tokenizer().encode(request.prompt, {.add_special = true, .parse_special = request.parse_special});
    else if (ids.empty() && model.tokenizer().kind() != TokenizerKind::none && model.tokenizer().adds_bos())
        ids.push_back(*model.tokenizer().bos());  // from nothing: the model begins by itself
    if (ids.empty()) throw Error(ErrorCode::invalid_argument, "the prompt is empty; give a text or token ids");
    e.machine.check_tokens(ids);
    for (const TokenId id : ids)
        if (static_cast<std::uint32_t>(id) >= e.vocab)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("token id {} is padding beyond the vocabulary of {}", id, e.vocab));
    for (const std::string& stop : request.stop)
        if (stop.empty()) throw Error(ErrorCode::invalid_argument, "a stop text is empty");
    if (request.max_tokens == 0) throw Error(ErrorCode::invalid_argument, "max_tokens is 0; at least 1 is generated");
    if (ids.size() > e.machine.context())
        throw Error(ErrorCode::context_full,
                    fmt::format("the prompt has {} tokens and the context {}; shorten the prompt or ask for a larger context",
                                ids.size(), e.machine.context()));
    auto reply = std::make_shared<Reply::Impl>(e.link, model, std::move(request), std::move(ids), e.vocab);
    const std::lock_guard lock(e.link->mutex);
    e.waiting.push_back(reply);
    return Reply(std::move(reply));
}

std::uint32_t Engine::context() const noexcept { return impl_->machine.context(); }
std::uint64_t Engine::kv_bytes() const noexcept { return impl_->machine.kv_bytes(); }
const Model& Engine::model() const noexcept { return impl_->machine.model(); }

}  // namespace tern
