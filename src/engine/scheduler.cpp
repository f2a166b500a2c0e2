#include "engine/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/runtime_impl.h"
#include "kv/sequence_file.h"
#include "models/model_impl.h"

namespace tern::engine {
namespace {

using Clock = std::chrono::steady_clock;

// A step with a piece of a prompt may take this much longer than one without, if the caller leaves it to the engine …
constexpr double kPromptShare = 0.7;
// … or this much for each sequence that waits for its first token, divided by those that generate: many that wait are
// served together, at the speed of long prompts.
constexpr double kWaiterShare = 2.0;
// Tokens of such a piece before anything was measured, and at least.
constexpr std::uint32_t kFirstPiece = 16;
constexpr std::uint32_t kLeastPiece = 4;
// After so many such steps one goes without a prompt: what a step without one costs changes as texts get longer.
constexpr std::uint32_t kMeasureEvery = 16;
// Copying a parked sequence out and in again: bytes per millisecond, a careful guess.
constexpr double kCopyRate = 2e6;

bool before(const Sequence& a, const Sequence& b) noexcept {
    return a.priority != b.priority ? a.priority > b.priority : a.arrival < b.arrival;
}

double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

}  // namespace

Scheduler::Scheduler(Machine& machine, const EngineOptions& options, std::uint32_t vocab)
    : machine_(machine), options_(options), vocab_(vocab), groups_(machine.plan().groups.count()),
      parallel_(std::min({options.parallel, machine.batch(), machine.outputs()})),
      identity_(machine.kv_identity()), cache_(machine.pool(), machine.plan().groups.windows) {
    for (const std::uint32_t window : machine.plan().groups.windows) any_window_ |= window != 0;
    // Steps do not allocate on their own account.
    tokens_.reserve(machine.batch());
    segments_.reserve(machine.batch());
    outputs_.reserve(machine.batch());
    parts_.reserve(machine.batch());
    prompts_.reserve(parallel_ + std::size_t{1});
    decode_ms_.resize(parallel_ + std::size_t{1});
    counters_.pages = machine.pool().pages();
    counters_.page_positions = kv::page_positions();
    publish();
}

// ---- lists --------------------------------------------------------------------------------------------------------

void Scheduler::insert(List& list, List& from, List::iterator it) noexcept {
    auto at = list.end();
    while (at != list.begin() && before(*it, *std::prev(at))) --at;
    list.splice(at, from, it);
}

void Scheduler::add(List& sequences) noexcept {
    while (!sequences.empty()) {
        Sequence& s = sequences.front();
        s.arrival = arrivals_++;
        for (Sequence& sibling : s.siblings) sibling.arrival = arrivals_++;
        any_deadline_ |= s.deadline.has_value();
        insert(waiting_, sequences, sequences.begin());
    }
}

void Scheduler::drop_ended(List& list) noexcept {
    list.remove_if([](const Sequence& s) { return s.ended; });
}

void Scheduler::sweep(bool look) noexcept {
    if (!look && !any_deadline_) return;
    const Clock::time_point now = any_deadline_ ? Clock::now() : Clock::time_point{};
    any_deadline_ = false;
    for (List* list : {&waiting_, &active_}) {
        for (Sequence& s : *list) {
            if (s.reply->cancelled.load(std::memory_order_relaxed))
                finish(s, FinishReason::cancelled);
            else if (s.deadline && now >= *s.deadline)
                finish(s, FinishReason::timeout);
            else
                any_deadline_ |= s.deadline.has_value();
        }
        drop_ended(*list);
    }
}

void Scheduler::end_all() noexcept {
    for (List* list : {&active_, &waiting_}) {
        for (Sequence& s : *list) finish(s, FinishReason::cancelled);
        drop_ended(*list);
    }
    publish();
}

// ---- pages --------------------------------------------------------------------------------------------------------

bool Scheduler::make_room(std::uint32_t pages) noexcept {
    while (machine_.pool().free_pages() < pages)
        if (!cache_.evict()) return false;
    return true;
}

bool Scheduler::make_room_for(Sequence& s, std::uint32_t length) noexcept {
    if (make_room(s.table.pages_needed(length))) return true;
    // A page that it would have to copy because the prefix cache has it, too: the cache gives it up.
    const std::uint32_t in_block = s.length() % kv::page_positions();
    if (s.node && in_block != 0)
        for (const std::uint32_t page : s.table.block(s.length() / kv::page_positions()))
            if (page != kv::kNoPage) cache_.surrender(s.node, page);
    return make_room(s.table.pages_needed(length));
}

// Pages that the prompts that are being computed will still take.
std::uint32_t Scheduler::promised() const noexcept {
    std::uint32_t pages = 0;
    for (const Sequence& s : active_)
        if (!s.decodes()) pages += s.table.pages_needed(static_cast<std::uint32_t>(s.tokens.size()));
    return pages;
}

// Gets a waiting sequence ready to compute; false if there are not enough pages for what it has to begin with.
bool Scheduler::start(Sequence& s) noexcept {
    const Request& request = s.reply->request;
    kv::PagePool& pool = machine_.pool();
    const std::uint32_t taken = promised();
    // Beside others it begins only where some of them can take their next page, too, so that it is not parked at once. The
    // cache may count a page too many, so an attempt follows.
    const auto enough = [&](std::uint32_t pages) {
        const std::size_t spare = (active_.size() + 15) / 16 * groups_;
        return pages + taken + spare <= pool.free_pages() + cache_.evictable_pages() && make_room(pages);
    };
    const bool takes_part = options_.prefix_cache && request.use_cache && s.cacheable;
    try {
        if (s.parked.size() != 0) {
            const std::uint32_t need = kv::pages_for(s.parked_length + 1) * groups_;
            if (!enough(need)) return false;
            s.table.grow(s.parked_length, machine_.kv());
            // What was behind a window is not in the copy, and must not come into the cache.
            s.table.free_behind_windows(machine_.plan().groups.windows);
            const std::size_t bytes = machine_.kv().page_bytes();
            for (std::size_t i = 0; i < s.table.pages().size(); ++i)
                if (s.table.pages()[i] != kv::kNoPage)
                    machine_.kv().write_page(s.table.pages()[i], {s.parked.data() + i * bytes, bytes});
            park_bytes_ -= s.parked.size();
            s.parked = {};
            if (takes_part) s.node = cache_.enter(request.cache_salt);
            remember(s);
            return true;
        }
        if (takes_part) {
            s.node = cache_.enter(request.cache_salt);
            s.known_blocks = 0;
            // The last token is computed for its logits, all of them if all are to be scored.
            if (!request.prompt_logprobs || s.generated > 0)
                cache_.match(s.tokens, static_cast<std::uint32_t>(s.tokens.size()) - 1, s.table, s.node);
            s.known_blocks = s.length() / kv::page_positions();
        }
        if (!enough(s.table.pages_needed(static_cast<std::uint32_t>(s.tokens.size())))) {
            release(s, false);
            if (!active_.empty()) return false;
            // Alone it always fits, if not beside what it would share.
            cache_.clear();
            if (takes_part) s.node = cache_.enter(request.cache_salt);
        }
    } catch (const std::exception&) {
        // No memory for the table: not a reason to end it, if it can try again later; alone it cannot hope.
        release(s, false);
        if (active_.empty()) fail(s, s.reply->no_memory);
        return false;
    }
    if (s.generated == 0) {
        counters_.cached_tokens += s.length();
        const std::lock_guard lock(s.reply->mutex);
        if (s.reply->started == Clock::time_point{}) {
            s.reply->started = Clock::now();
            s.reply->cached_tokens = s.length();
        }
    }
    return true;
}

void Scheduler::admit() noexcept {
    while (!waiting_.empty()) {
        Sequence& s = waiting_.front();
        const bool outranks = !active_.empty() && s.priority > active_.back().priority;
        if (active_.size() >= parallel_) {
            if (!outranks) return;
            park(std::prev(active_.end()));
            continue;
        }
        if (start(s)) {
            parked_ -= std::exchange(s.was_parked, false);
            insert(active_, waiting_, waiting_.begin());
        } else if (s.ended) {
            waiting_.pop_front();
        } else if (outranks) {
            park(std::prev(active_.end()));
        } else {
            return;
        }
    }
}

// Gives a running sequence's pages to others. What it computed comes back from a copy, or is computed again.
void Scheduler::park(List::iterator it) noexcept {
    Sequence& s = *it;
    ++counters_.parks;
    const std::size_t page_bytes = machine_.kv().page_bytes();
    const std::size_t bytes = s.table.pages().size() * page_bytes;
    const bool room = park_bytes_ + bytes <= options_.park_memory;
    const bool cheaper = static_cast<double>(bytes) * 2 / kCopyRate < prompt_token_ms_ * s.length();
    // A cache that was slid cannot be computed again.
    if (s.length() > 0 && (!s.cacheable || (room && cheaper))) {
        try {
            s.parked = base::AlignedBuffer(bytes, "a parked sequence");
            for (std::size_t i = 0; i < s.table.pages().size(); ++i)
                if (s.table.pages()[i] != kv::kNoPage)
                    machine_.kv().read_page(s.table.pages()[i], {s.parked.data() + i * page_bytes, page_bytes});
            s.parked_length = s.length();
            park_bytes_ += s.parked.size();
        } catch (const std::exception&) {
            s.parked = {};
            if (!s.cacheable) {
                fail(s, s.reply->no_memory);
                active_.erase(it);
                return;
            }
        }
    }
    release(s, true);
    s.was_parked = true;
    ++parked_;
    insert(waiting_, active_, it);
}

// Gives its pages back; with `keep` the prefix cache has what is whole in it.
void Scheduler::release(Sequence& s, bool keep) noexcept {
    if (s.node && keep && s.cacheable) {
        remember(s);
        const std::uint32_t page = kv::page_positions();
        const std::uint32_t rest = s.length() % page;
        if (s.node && rest != 0 && s.known_blocks == s.length() / page) try {
                kv::PrefixCache::Node* node = s.node;
                cache_.add(std::span<const TokenId>(s.tokens).subspan(s.length() - rest, rest), s.table, s.known_blocks, node);
            } catch (const std::exception&) {
                // Not remembered.
            }
    }
    s.table.truncate(0);
    if (s.node) cache_.leave(std::exchange(s.node, nullptr));
    s.known_blocks = 0;
}

// Registers the blocks that became whole, and frees what no token sees any more.
void Scheduler::remember(Sequence& s) noexcept {
    const std::uint32_t page = kv::page_positions();
    if (s.node && s.cacheable) {
        try {
            for (; s.known_blocks < s.length() / page; ++s.known_blocks)
                cache_.add(std::span<const TokenId>(s.tokens).subspan(std::size_t{s.known_blocks} * page, page), s.table,
                           s.known_blocks, s.node);
        } catch (const std::exception&) {
            // Later, then.
        }
    }
    if (!any_window_) return;
    const std::uint32_t seen_from = s.table.free_behind_windows(machine_.plan().groups.windows);
    if (s.node) cache_.passed(s.node, s.known_blocks, seen_from);
}

void Scheduler::slide(Sequence& s) {
    const std::uint32_t length = s.length();
    const std::uint32_t keep = std::min(s.reply->request.keep, length / 2);
    const std::uint32_t drop = (length - keep + 1) / 2;
    s.table.own(keep, machine_.kv());
    machine_.kv().move(s.table.pages(), keep + drop, keep, length - keep - drop);
    s.table.truncate(length - drop);
    s.tokens.erase(s.tokens.begin() + keep, s.tokens.begin() + keep + drop);
    const std::lock_guard lock(s.reply->mutex);
    s.reply->samples[s.sample].dropped += drop;
}

// ---- a step -------------------------------------------------------------------------------------------------------

std::uint32_t Scheduler::prompt_budget(std::uint32_t decoding) const noexcept {
    const auto waiting = static_cast<double>(prompts_.size() + std::min<std::size_t>(waiting_.size(), parallel_));
    const std::uint32_t room = machine_.batch() - decoding;
    if (decoding == 0) return room;
    if (options_.prefill_budget != 0) return std::min(room, options_.prefill_budget);
    if (mixed_steps_ >= kMeasureEvery) return 0;
    // A step of so many sequences, or of the next number that was measured.
    double decode = 0;
    for (std::uint32_t n = decoding; n < decode_ms_.size() && decode == 0; ++n) decode = decode_ms_[n];
    for (std::uint32_t n = decoding; n > 0 && decode == 0; --n) decode = decode_ms_[n];
    if (decode == 0 || prompt_token_ms_ == 0) return std::min(room, kFirstPiece);
    const double tokens = std::max(kPromptShare, kWaiterShare * waiting / decoding) * decode / prompt_token_ms_;
    return std::min(std::max(static_cast<std::uint32_t>(std::min(tokens, 1e6)), kLeastPiece), room);
}

void Scheduler::learn(std::uint32_t decoding, std::uint32_t prompt, double ms) noexcept {
    const auto blend = [](double& average, double value) { average = average == 0 ? value : 0.8 * average + 0.2 * value; };
    mixed_steps_ = prompt != 0 && decoding != 0 ? mixed_steps_ + 1 : 0;
    if (prompt == 0 && decoding < decode_ms_.size()) {
        blend(decode_ms_[decoding], ms);
    } else if (decoding == 0) {
        // Few tokens are bound by reading the weights and say little about the cost of one more.
        if (prompt >= 64 || prompt_token_ms_ == 0) blend(prompt_token_ms_, ms / prompt);
    } else if (decoding < decode_ms_.size() && decode_ms_[decoding] > 0) {
        blend(prompt_token_ms_, std::max(ms - decode_ms_[decoding], 0.05 * ms) / prompt);
    }
}

void Scheduler::schedule(Sequence& s, std::uint32_t count) {
    const std::uint32_t position = s.length();
    s.table.grow(position + count, machine_.kv());
    const auto first = static_cast<std::uint32_t>(tokens_.size());
    segments_.push_back({first, count, position, s.table.pages()});
    tokens_.insert(tokens_.end(), s.tokens.begin() + position, s.tokens.begin() + position + count);
    const auto output = static_cast<std::uint32_t>(outputs_.size());
    const bool last = s.missing() == 0;
    if (s.reply->request.prompt_logprobs && s.sample == 0 && s.generated == 0) {
        for (std::uint32_t i = 0; i < count; ++i) outputs_.push_back(first + i);
    } else if (last) {
        outputs_.push_back(first + count - 1);
    }
    parts_.push_back({&s, output, static_cast<std::uint32_t>(outputs_.size()) - output, position, count});
}

void Scheduler::plan_step() noexcept {
    tokens_.clear();
    segments_.clear();
    outputs_.clear();
    parts_.clear();
    prompts_.clear();
    if (starved_ && active_.size() > 1) park(std::prev(active_.end()));
    starved_ = false;
    // Those that generate, in order; where pages run out the last in the order gives its own.
    for (auto it = active_.begin(); it != active_.end();) {
        Sequence& s = *it;
        if (!s.decodes()) {
            prompts_.push_back(&s);
            ++it;
            continue;
        }
        bool parked = false;
        const bool slides = s.length() == machine_.context();
        if (slides) {
            // From here on its pages are no function of its tokens; those that only the prefix cache shares become its own.
            s.cacheable = false;
            if (s.node) cache_.leave(std::exchange(s.node, nullptr));
        }
        const auto room = [&] {
            if (!slides) return make_room_for(s, s.length() + 1);
            const std::uint32_t keep = std::min(s.reply->request.keep, s.length() / 2);
            return make_room(s.table.own_needed(keep)) || make_room(s.table.own_needed(keep));
        };
        while (!room()) {
            const auto victim = std::prev(active_.end());
            if (victim == it && active_.size() == 1) {
                // Alone it fits by construction; only pages that copies of its own hold could be in the way.
                fail(s, Error(ErrorCode::internal, "no page for the only sequence that runs"));
                break;
            }
            parked = victim == it;
            if (parked) ++it;
            park(victim);
            if (parked) break;
        }
        if (parked) continue;
        if (!s.ended) {
            try {
                if (slides) {
                    slide(s);
                    if (!make_room_for(s, s.length() + 1)) throw Error(ErrorCode::internal, "no page after a slide");
                }
                schedule(s, 1);
            } catch (const std::bad_alloc&) {
                fail(s, s.reply->no_memory);
            } catch (const Error& e) {
                fail(s, e);
            }
        }
        ++it;
    }
    // Prompts: the higher priority first, equal shares within one.
    const auto decoding = static_cast<std::uint32_t>(parts_.size());
    std::uint32_t budget = prompts_.empty() ? 0 : prompt_budget(decoding);
    std::uint32_t rows = machine_.outputs() - decoding;
    for (std::size_t first = 0; first < prompts_.size() && budget > 0;) {
        std::size_t end = first;
        while (end < prompts_.size() && prompts_[end]->priority == prompts_[first]->priority) ++end;
        // Short ones first, so that what they leave of their shares goes to the longer ones.
        std::stable_sort(prompts_.begin() + static_cast<std::ptrdiff_t>(first), prompts_.begin() + static_cast<std::ptrdiff_t>(end),
                         [](const Sequence* a, const Sequence* b) { return a->missing() < b->missing(); });
        for (std::size_t i = first; i < end && budget > 0; ++i) {
            Sequence& s = *prompts_[i];
            const auto share = static_cast<std::uint32_t>((budget + (end - i) - 1) / (end - i));
            std::uint32_t count = std::min(s.missing(), share);
            const bool scores = s.reply->request.prompt_logprobs && s.sample == 0 && s.generated == 0;
            if (scores) count = std::min(count, rows);
            if (rows == 0 && count == s.missing()) --count;
            while (count > 0 && !make_room_for(s, s.length() + count)) {
                // As much as there are pages for, to the end of a page.
                const std::uint32_t fits = machine_.pool().free_pages() / groups_ * kv::page_positions() +
                                           s.table.blocks() * kv::page_positions() - s.length();
                count = fits < count ? fits : 0;
            }
            if (count == 0) {
                starved_ |= rows > 0;
                continue;
            }
            try {
                const std::size_t before_rows = outputs_.size();
                schedule(s, count);
                rows -= static_cast<std::uint32_t>(outputs_.size() - before_rows);
                budget -= count;
            } catch (const std::bad_alloc&) {
                fail(s, s.reply->no_memory);
            } catch (const Error& e) {
                fail(s, e);
            }
        }
        first = end;
    }
}

void Scheduler::step(bool look) noexcept {
    sweep(look);
    admit();
    plan_step();
    if (!parts_.empty()) {
        std::uint32_t decoding = 0, prompt = 0;
        for (const Part& part : parts_)
            if (part.sequence->generated > 0 && part.count == 1)
                ++decoding;
            else
                prompt += part.count;
        const Clock::time_point start = Clock::now();
        ++counters_.steps;
        counters_.prompt_tokens += prompt;
        try {
            const std::span<const float> logits = machine_.run({tokens_, segments_, outputs_});
            learn(decoding, prompt, ms_since(start));
            for (const Part& part : parts_)
                if (!part.sequence->ended) after(part, logits);
        } catch (const Error& e) {
            for (const Part& part : parts_) fail(*part.sequence, e);
        } catch (const std::exception&) {
            for (const Part& part : parts_) fail(*part.sequence, part.sequence->reply->no_memory);
        }
    }
    drop_ended(active_);
    publish();
}

void Scheduler::after(const Part& part, std::span<const float> logits) noexcept {
    Sequence& s = *part.sequence;
    remember(s);
    try {
        if (part.outputs > 0 && s.reply->request.prompt_logprobs && s.sample == 0 && s.generated == 0)
            score_prompt(s, part, logits);
    } catch (const Error& e) {
        return fail(s, e);
    } catch (const std::exception&) {
        return fail(s, s.reply->no_memory);
    }
    if (s.missing() != 0) return;
    const std::span<const float> last = row(logits, part.first_output + part.outputs - 1);
    if (s.generated == 0 && !s.siblings.empty()) fork(s, last);
    accept(s, last);
}

void Scheduler::score_prompt(Sequence& s, const Part& part, std::span<const float> logits) {
    std::vector<TokenScore> scores;
    scores.reserve(part.count);
    const std::uint32_t top = s.reply->request.logprobs.value_or(0);
    for (std::uint32_t i = 0; i < part.count && part.begin + i + 1 < s.tokens.size(); ++i)
        scores.push_back(score(row(logits, part.first_output + i), s.tokens[part.begin + i + 1], top));
    const std::lock_guard lock(s.reply->mutex);
    auto& all = s.reply->prompt_scores;
    all.insert(all.end(), std::make_move_iterator(scores.begin()), std::make_move_iterator(scores.end()));
    if (s.missing() == 0) {
        s.reply->prompt_scored = true;
        s.reply->changed.notify_all();
    }
}

// The further samples of a request begin where its prompt ends.
void Scheduler::fork(Sequence& s, std::span<const float> logits) noexcept {
    List siblings = std::move(s.siblings);
    while (!siblings.empty()) {
        const auto it = siblings.begin();
        Sequence& sibling = *it;
        try {
            sibling.table.share(s.table);
            if (s.node) {
                cache_.share(s.node);
                sibling.node = s.node;
                sibling.known_blocks = s.known_blocks;
            }
            sibling.cacheable = s.cacheable;
            accept(sibling, logits);
        } catch (const std::exception&) {
            fail(sibling, sibling.reply->no_memory);
        }
        if (sibling.ended) {
            siblings.erase(it);
        } else if (active_.size() < parallel_) {
            insert(active_, siblings, it);
        } else {
            release(sibling, true);
            sibling.was_parked = true;
            ++parked_;
            insert(waiting_, siblings, it);
        }
    }
}

TokenScore Scheduler::score(std::span<const float> logits, TokenId token, std::uint32_t top) {
    float greatest = -HUGE_VALF;
    for (const float x : logits) greatest = std::max(greatest, x);
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x) - static_cast<double>(greatest));
    const double log_sum = static_cast<double>(greatest) + std::log(sum);
    const auto logprob = [&](std::size_t id) { return static_cast<float>(static_cast<double>(logits[id]) - log_sum); };
    TokenScore result;
    result.token = token;
    result.logprob = logprob(static_cast<std::size_t>(token));
    top = std::min(top, static_cast<std::uint32_t>(logits.size()));
    if (top == 0) return result;
    std::vector<TokenId> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto better = [&](TokenId a, TokenId b) {
        const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
        return x != y ? x > y : a < b;
    };
    std::partial_sort(ids.begin(), ids.begin() + top, ids.end(), better);
    result.top.reserve(top);
    for (std::uint32_t i = 0; i < top; ++i) result.top.push_back({ids[i], logprob(static_cast<std::size_t>(ids[i]))});
    return result;
}

// ---- replies ------------------------------------------------------------------------------------------------------

void Scheduler::emit(Sequence& s, std::string text) {
    Reply::Impl& r = *s.reply;
    Piece piece{std::move(text), std::exchange(s.unseen, {}), std::exchange(s.scores, {}), s.sample};
    if (r.request.on_piece) {
        r.request.on_piece(piece);
        return;
    }
    {
        const std::lock_guard lock(r.mutex);
        r.pieces.push_back(std::move(piece));
    }
    r.changed.notify_all();
}

// The next token of one sequence.
void Scheduler::accept(Sequence& s, std::span<const float> logits) noexcept {
    const Request& request = s.reply->request;
    if (request.max_tokens == 0) return finish(s, FinishReason::length);
    try {
        const TokenId id = s.sampler.sample(logits);
        {
            const std::lock_guard lock(s.reply->mutex);
            s.reply->last_token = Clock::now();
            if (s.reply->first_token == Clock::time_point{}) s.reply->first_token = s.reply->last_token;
        }
        const Tokenizer& tokenizer = machine_.model().tokenizer();
        const bool end = !request.ignore_end && tokenizer.kind() != TokenizerKind::none && tokenizer.is_end_of_generation(id);
        if (end || std::ranges::find(request.stop_tokens, id) != request.stop_tokens.end())
            return finish(s, FinishReason::stop);
        s.sampler.accept(id);
        s.tokens.push_back(id);
        s.unseen.push_back(id);
        ++s.generated;
        ++counters_.generated_tokens;
        {
            const std::lock_guard lock(s.reply->mutex);
            ++s.reply->generated;
        }
        if (request.logprobs) s.scores.push_back(score(logits, id, *request.logprobs));
        if (s.decoder) {
            bool stopped = false;
            std::string text = s.stop.feed(s.decoder->feed(id), stopped);
            if (!text.empty()) emit(s, std::move(text));
            if (stopped) return finish(s, FinishReason::stop, false);
        } else {
            emit(s, {});
        }
        if (s.generated >= request.max_tokens) return finish(s, FinishReason::length);
        if (s.length() >= machine_.context() && request.when_full != ContextPolicy::slide)
            return finish(s, FinishReason::context_full);
    } catch (const Error& e) {
        fail(s, e);
    } catch (const std::bad_alloc&) {
        fail(s, s.reply->no_memory);
    } catch (const std::exception& e) {
        try {
            fail(s, Error(ErrorCode::invalid_argument, fmt::format("the request's callback threw: {}", e.what())));
        } catch (...) {
            fail(s, s.reply->no_memory);
        }
    } catch (...) {
        try {
            fail(s, Error(ErrorCode::invalid_argument, "the request's callback threw something that is no std::exception"));
        } catch (...) {
            fail(s, s.reply->no_memory);
        }
    }
}

// `whole`: text held back so far is part of the reply (after a stop text it is not).
void Scheduler::finish(Sequence& s, FinishReason reason, bool whole, const Error* error) noexcept {
    if (s.ended) return;
    s.ended = true;
    Reply::Impl& r = *s.reply;
    std::optional<Error> why;
    if (error) why = *error;  // copying an exception does not throw
    try {
        if (whole && reason != FinishReason::error) {
            bool stopped = false;
            std::string tail = s.decoder ? s.stop.feed(s.decoder->flush(), stopped) : std::string();
            if (!stopped) tail += s.stop.flush();
            if (!tail.empty()) emit(s, std::move(tail));
        }
        // Tokens without text of their own still count.
        if (!s.unseen.empty()) emit(s, {});
    } catch (const std::bad_alloc&) {
        if (!why) why = r.no_memory;
        reason = FinishReason::error;
    } catch (...) {
        if (!why) try {
                why = Error(ErrorCode::invalid_argument, "the request's callback threw at the end of the text");
            } catch (...) {
                why = r.no_memory;
            }
        reason = FinishReason::error;
    }
    park_bytes_ -= s.parked.size();
    s.parked = {};
    parked_ -= std::exchange(s.was_parked, false);
    release(s, reason != FinishReason::error);
    {
        const std::lock_guard lock(r.mutex);
        Reply::Impl::Sample& sample = r.samples[s.sample];
        sample.ended = true;
        sample.reason = reason;
        sample.error = why;
        --r.running;
    }
    r.changed.notify_all();
    if (r.request.on_end) {
        try {
            r.request.on_end({s.sample, reason, why});
        } catch (...) {
            machine_.model().runtime().impl()->log(LogLevel::warning, "a request's on_end threw; it had ended");
        }
    }
    // Samples that never began end with the one that they waited for.
    List siblings = std::move(s.siblings);
    for (Sequence& sibling : siblings) finish(sibling, reason, true, why ? &*why : nullptr);
}

void Scheduler::publish() noexcept {
    EngineStatus& c = counters_;
    c.running = static_cast<std::uint32_t>(active_.size());
    c.parked = parked_;
    c.waiting = static_cast<std::uint32_t>(waiting_.size()) - std::min(parked_, static_cast<std::uint32_t>(waiting_.size()));
    c.positions_used = 0;
    for (const Sequence& s : active_) c.positions_used += s.length();
    c.pages_free = machine_.pool().free_pages();
    c.pages_cached = std::min(cache_.evictable_pages(), c.pages - c.pages_free);
    c.pages_used = c.pages - c.pages_free - c.pages_cached;
    c.park_bytes = park_bytes_;
    const std::lock_guard lock(status_mutex_);
    status_ = c;
}

EngineStatus Scheduler::status() const {
    const std::lock_guard lock(status_mutex_);
    return status_;
}

// ---- files --------------------------------------------------------------------------------------------------------

namespace {

// A table that holds cached pages for a while.
struct Visit {
    Visit(kv::PagePool& pool, std::uint32_t groups, kv::PrefixCache& c, std::string_view salt)
        : table(pool, groups), cache(c), node(c.enter(salt)) {}
    ~Visit() {
        table.truncate(0);
        cache.leave(node);
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    kv::PageTable table;
    kv::PrefixCache& cache;
    kv::PrefixCache::Node* node;
};

kv::SequenceKind kind_of(const Machine& machine, KvType type, std::uint64_t identity) {
    return {identity, type, machine.plan().groups.count(), machine.plan().page_bytes};
}

}  // namespace

void Scheduler::save(std::span<const TokenId> tokens, const std::filesystem::path& path, std::string_view salt) {
    Visit visit(machine_.pool(), groups_, cache_, salt);
    cache_.match(tokens, static_cast<std::uint32_t>(tokens.size()), visit.table, visit.node);
    if (visit.table.length() != tokens.size())
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("only {} of the {} tokens could be kept in the prefix cache; other requests need the pages",
                                visit.table.length(), tokens.size()));
    std::string text;
    const Tokenizer& tokenizer = machine_.model().tokenizer();
    if (tokenizer.kind() != TokenizerKind::none) text = tokenizer.decode(tokens);
    kv::write_sequence(path, kind_of(machine_, options_.kv_type, identity_), tokens, text, visit.table, machine_.kv());
}

std::vector<TokenId> Scheduler::restore(const std::filesystem::path& path, std::string_view salt) {
    const kv::SequenceFile file(path, kind_of(machine_, options_.kv_type, identity_));
    const std::vector<TokenId>& tokens = file.tokens();
    machine_.check_tokens(tokens);
    const auto length = static_cast<std::uint32_t>(tokens.size());
    if (length > machine_.context())
        throw Error(ErrorCode::context_full, fmt::format("'{}' holds {} tokens and the context {}", path.string(), length,
                                                         machine_.context()));
    const std::uint32_t need = file.blocks() * groups_;
    if (!make_room(need))
        throw Error(ErrorCode::out_of_memory,
                    fmt::format("'{}' needs {} pages, and {} can be free now; wait for running requests or give the KV cache "
                                "more memory",
                                path.string(), need, machine_.pool().free_pages()));
    {
        Visit visit(machine_.pool(), groups_, cache_, salt);
        visit.table.grow(length, machine_.kv());
        for (std::uint32_t b = 0; b < file.blocks(); ++b)
            for (std::uint32_t g = 0; g < groups_; ++g)
                if (const auto page = file.page(b, g); !page.empty())
                    machine_.kv().write_page(visit.table.block(b)[g], page);
        if (any_window_) visit.table.free_behind_windows(machine_.plan().groups.windows);
        const std::uint32_t page = kv::page_positions();
        for (std::uint32_t b = 0; b < file.blocks(); ++b)
            cache_.add(std::span(tokens).subspan(std::size_t{b} * page, std::min(page, length - b * page)), visit.table, b,
                       visit.node);
    }
    publish();
    return tokens;
}

void Scheduler::clear_cache() noexcept {
    cache_.clear();
    publish();
}

}  // namespace tern::engine
