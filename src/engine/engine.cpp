// The engine's thread, and what callers do beside it: check and hand over requests, take pieces.
#include <fmt/format.h>
#include <tern/engine.h>

#include <algorithm>
#include <thread>

#include "backend/runtime_impl.h"
#include "engine/machine.h"
#include "engine/reply.h"
#include "engine/scheduler.h"

namespace tern {
namespace {

using engine::Errand;
using engine::Mailbox;
using engine::Sequence;

constexpr std::uint32_t kMaxSamples = 1024;
constexpr std::uint32_t kMaxParallel = 4096;

double ms(std::chrono::steady_clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

engine::MachineOptions machine_options(const EngineOptions& o) {
    if (o.parallel == 0 || o.parallel > kMaxParallel)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("parallel is {}; it must be between 1 and {}", o.parallel, kMaxParallel));
    return {.context = o.context,
            .kv_memory = o.kv_memory,
            .kv_type = o.kv_type,
            .batch = o.batch,
            .outputs = std::max<std::uint32_t>(o.parallel, 16),
            .park_memory = o.park_memory,
            .progress = o.progress};
}

}  // namespace

const char* to_string(FinishReason reason) noexcept {
    switch (reason) {
        case FinishReason::stop: return "stop";
        case FinishReason::length: return "length";
        case FinishReason::cancelled: return "cancelled";
        case FinishReason::context_full: return "context_full";
        case FinishReason::timeout: return "timeout";
        case FinishReason::error: return "error";
    }
    return "unknown";
}

struct Engine::Impl {
    Impl(Model model, const EngineOptions& options)
        : machine(std::move(model), machine_options(options)), vocab(usable_vocabulary()),
          scheduler(machine, options, vocab), plan(machine.plan().memory) {
        try {
            thread = std::thread([this] { run(); });
        } catch (const std::system_error& e) {
            throw Error(ErrorCode::out_of_memory, fmt::format("the engine's thread cannot be started: {}", e.what()));
        }
    }

    ~Impl() {
        {
            const std::lock_guard lock(mailbox->mutex);
            mailbox->stop = true;
        }
        mailbox->changed.notify_one();
        thread.join();
    }

    // Rows beyond the vocabulary are padding and never chosen.
    std::uint32_t usable_vocabulary() const {
        const Tokenizer& tokenizer = machine.model().tokenizer();
        const std::size_t words = tokenizer.vocab_size();
        if (tokenizer.kind() == TokenizerKind::none || words == 0) return machine.vocab_size();
        return std::min(machine.vocab_size(), static_cast<std::uint32_t>(words));
    }

    void run() noexcept {
        std::list<Sequence> arrived;
        for (;;) {
            bool look = false, stop = false;
            {
                std::unique_lock lock(mailbox->mutex);
                const auto work = [&] {
                    return mailbox->stop || !mailbox->requests.empty() || !mailbox->errands.empty();
                };
                if (scheduler.idle()) mailbox->changed.wait(lock, work);
                arrived.splice(arrived.end(), mailbox->requests);
                look = std::exchange(mailbox->look, false);
                stop = mailbox->stop;
                while (!mailbox->errands.empty()) {
                    Errand* errand = mailbox->errands.front();
                    mailbox->errands.pop_front();
                    lock.unlock();
                    try {
                        errand->run(scheduler);
                    } catch (...) {
                        errand->error = std::current_exception();
                    }
                    lock.lock();
                    errand->done = true;
                    mailbox->errand_done.notify_all();
                }
                if (stop) mailbox->closed = true;
            }
            scheduler.add(arrived);
            if (stop) {
                scheduler.end_all();
                return;
            }
            if (!scheduler.idle()) scheduler.step(look);
        }
    }

    // Has the engine's thread do something between two steps, and waits for it.
    void ask(std::function<void(engine::Scheduler&)> what) {
        Errand errand{std::move(what)};
        std::unique_lock lock(mailbox->mutex);
        mailbox->errands.push_back(&errand);
        mailbox->changed.notify_one();
        mailbox->errand_done.wait(lock, [&] { return errand.done; });
        lock.unlock();
        if (errand.error) std::rethrow_exception(errand.error);
    }

    const std::shared_ptr<Mailbox> mailbox = std::make_shared<Mailbox>();
    engine::Machine machine;
    const std::uint32_t vocab;
    engine::Scheduler scheduler;
    const MemoryPlan plan;
    std::thread thread;
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
    if (impl_ && !impl_->detached) cancel();
}

// The first piece there is, accounted to its sample. The mutex is held.
std::optional<Piece> Reply::Impl::take() {
    if (pieces.empty()) return std::nullopt;
    Piece& first = pieces.front();
    // Appended before the piece is gone, so that a failure loses nothing.
    std::string& text = texts[first.sample];
    std::vector<TokenId>& tokens = seen[first.sample];
    tokens.reserve(tokens.size() + first.tokens.size());
    text += first.text;
    tokens.insert(tokens.end(), first.tokens.begin(), first.tokens.end());
    std::optional<Piece> piece(std::move(first));
    pieces.pop_front();
    return piece;
}

std::optional<Piece> Reply::next() {
    Impl& r = *impl_;
    std::unique_lock lock(r.mutex);
    r.changed.wait(lock, [&] { return !r.pieces.empty() || r.running == 0; });
    return r.take();
}

std::optional<Piece> Reply::poll() {
    const std::lock_guard lock(impl_->mutex);
    return impl_->take();
}

bool Reply::done() const noexcept {
    const std::lock_guard lock(impl_->mutex);
    return impl_->running == 0 && impl_->pieces.empty();
}

void Reply::wait() {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [&] { return impl_->running == 0; });
}

namespace {

std::uint32_t checked(const Reply::Impl& r, std::uint32_t sample) {
    if (sample >= r.samples.size())
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("sample {} does not exist; the request has {}", sample, r.samples.size()));
    return sample;
}

}  // namespace

std::string Reply::text(std::uint32_t sample) {
    checked(*impl_, sample);
    while (next()) {}
    return impl_->texts[sample];
}

void Reply::cancel() noexcept {
    if (!impl_ || impl_->cancelled.exchange(true)) return;
    impl_->mailbox->notice_cancel();
}

void Reply::detach() noexcept { impl_->detached = true; }

FinishReason Reply::finish_reason(std::uint32_t sample) {
    checked(*impl_, sample);
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [&] { return impl_->samples[sample].ended; });
    return impl_->samples[sample].reason;
}

const std::optional<Error>& Reply::error(std::uint32_t sample) {
    finish_reason(sample);
    return impl_->samples[sample].error;
}

const std::vector<TokenId>& Reply::prompt_tokens() const noexcept { return impl_->prompt; }
const std::vector<TokenId>& Reply::tokens(std::uint32_t sample) const { return impl_->seen[checked(*impl_, sample)]; }

const std::vector<TokenScore>& Reply::prompt_scores() {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [&] { return impl_->prompt_scored || impl_->running == 0; });
    return impl_->prompt_scores;
}

std::uint32_t Reply::dropped(std::uint32_t sample) const {
    checked(*impl_, sample);
    const std::lock_guard lock(impl_->mutex);
    return impl_->samples[sample].dropped;
}

Timings Reply::timings() const noexcept {
    const Impl& r = *impl_;
    const std::lock_guard lock(r.mutex);
    Timings t;
    t.prompt_tokens = static_cast<std::uint32_t>(r.prompt.size());
    t.cached_tokens = r.cached_tokens;
    t.generated_tokens = r.generated;
    if (r.first_token == Impl::Clock::time_point{}) return t;
    t.prompt_ms = ms(r.first_token - r.started);
    t.first_token_ms = ms(r.first_token - r.submitted);
    t.generate_ms = ms(r.last_token - r.first_token);
    return t;
}

// ---- Engine -------------------------------------------------------------------------------------------------------

Engine::Engine(Model model, const EngineOptions& options) : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Reply Engine::submit(Request request) {
    Impl& e = *impl_;
    const Model& model = e.machine.model();
    const Tokenizer& tokenizer = model.tokenizer();
    if (!request.prompt.empty() && !request.prompt_tokens.empty())
        throw Error(ErrorCode::invalid_argument, "a request has a prompt or prompt_tokens, not both");
    std::vector<TokenId> ids = std::move(request.prompt_tokens);
    if (!request.prompt.empty())
        ids = tokenizer.encode(request.prompt, {.add_special = true, .parse_special = request.parse_special});
    else if (ids.empty() && tokenizer.kind() != TokenizerKind::none && tokenizer.adds_bos())
        ids.push_back(*tokenizer.bos());  // from nothing: the model begins by itself
    if (ids.empty()) throw Error(ErrorCode::invalid_argument, "the prompt is empty; give a text or token ids");
    e.machine.check_tokens(ids);
    for (const TokenId id : ids)
        if (static_cast<std::uint32_t>(id) >= e.vocab)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("token id {} is padding beyond the vocabulary of {}", id, e.vocab));
    for (const std::string& stop : request.stop)
        if (stop.empty()) throw Error(ErrorCode::invalid_argument, "a stop text is empty");
    if (request.samples == 0 || request.samples > kMaxSamples)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("samples is {}; it must be between 1 and {}", request.samples, kMaxSamples));
    if (request.timeout < std::chrono::milliseconds::zero())
        throw Error(ErrorCode::invalid_argument, "timeout is negative; 0 means none");
    const std::uint32_t context = e.machine.context();
    if (ids.size() > context)
        throw Error(ErrorCode::context_full,
                    fmt::format("the prompt has {} tokens and the context {}; shorten the prompt or ask for a larger context",
                                ids.size(), context));
    // The last token that is generated needs no position.
    const std::uint64_t most = ids.size() + (request.max_tokens > 0 ? std::uint64_t{request.max_tokens} - 1 : 0);
    if (request.when_full == ContextPolicy::refuse && most > context)
        throw Error(ErrorCode::context_full,
                    fmt::format("the prompt's {} tokens and {} to generate need {} positions, and the context has {}; ask for "
                                "at most {} tokens, a larger context, or another policy for a full context",
                                ids.size(), request.max_tokens, most, context, context - ids.size() + 1));
    if (request.when_full == ContextPolicy::slide) {
        if (!e.machine.kv().can_move())
            throw Error(ErrorCode::unsupported, fmt::format("backend '{}' cannot move the positions of this model, so its context cannot "
                                                                "slide; ContextPolicy::stop and refuse can be had",
                                                                e.machine.model().runtime().backend()));
        if (request.keep > context / 2)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("keep is {}; at most half the context, {}, can be kept", request.keep, context / 2));
    }

    std::vector<std::string> stops = request.stop;
    auto reply = std::make_shared<Reply::Impl>(e.mailbox, std::move(request), std::move(ids));
    const Request& r = reply->request;
    std::list<Sequence> made;
    for (std::uint32_t i = 0; i < r.samples; ++i) {
        SamplerOptions sampling = r.sampling;
        sampling.seed += i;
        std::list<Sequence>& list = i == 0 ? made : made.front().siblings;
        Sequence& s = list.emplace_back(reply, i, kv::PageTable(e.machine.pool(), e.machine.plan().groups.count()),
                                        Sampler(sampling, e.vocab));
        s.tokens = reply->prompt;
        s.priority = r.priority;
        if (r.timeout.count() > 0) s.deadline = reply->submitted + r.timeout;
        s.stop = engine::StopFilter(stops);
        if (tokenizer.kind() != TokenizerKind::none)
            s.decoder.emplace(tokenizer, StreamOptions{.skip_special = true, .after = reply->prompt.back()});
        s.sampler.accept(std::span<const TokenId>(reply->prompt));
    }
    {
        const std::lock_guard lock(e.mailbox->mutex);
        e.mailbox->requests.splice(e.mailbox->requests.end(), made);
    }
    e.mailbox->changed.notify_one();
    return Reply(std::move(reply));
}

MemoryPlan Engine::plan(const Model& model, const EngineOptions& options) {
    return engine::plan_machine(model, machine_options(options)).memory;
}

const MemoryPlan& Engine::memory() const noexcept { return impl_->plan; }
EngineStatus Engine::status() const { return impl_->scheduler.status(); }

void Engine::save(const std::vector<TokenId>& tokens, const std::filesystem::path& path, const std::string& cache_salt) {
    Request request;
    request.prompt_tokens = tokens;
    request.max_tokens = 0;
    request.cache_salt = cache_salt;
    Reply reply = submit(std::move(request));
    reply.wait();
    if (reply.error()) throw *reply.error();
    impl_->ask([&](engine::Scheduler& s) { s.save(tokens, path, cache_salt); });
}

std::vector<TokenId> Engine::restore(const std::filesystem::path& path, const std::string& cache_salt) {
    std::vector<TokenId> tokens;
    impl_->ask([&](engine::Scheduler& s) { tokens = s.restore(path, cache_salt); });
    return tokens;
}

void Engine::clear_cache() {
    impl_->ask([](engine::Scheduler& s) { s.clear_cache(); });
}

std::uint32_t Engine::context() const noexcept { return impl_->machine.context(); }
std::uint64_t Engine::kv_bytes() const noexcept { return impl_->machine.kv_bytes(); }
const Model& Engine::model() const noexcept { return impl_->machine.model(); }

}  // namespace tern
