// What the engine's thread and the holder of a Reply share.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>

#include <tern/engine.h>

#include "engine/sequence.h"

namespace tern {

namespace engine {

class Scheduler;

// Something that the engine's thread does between two steps, while its caller waits.
struct Errand {
    std::function<void(Scheduler&)> run;
    std::exception_ptr error{};
    bool done = false;
};

// Where callers leave work for the engine's thread. Outlives the engine as long as a reply does.
struct Mailbox {
    std::mutex mutex;
    std::condition_variable changed;       // for the engine's thread
    std::condition_variable errand_done;   // for callers
    std::list<Sequence> requests;
    std::deque<Errand*> errands;
    bool look = false;    // somebody cancelled
    bool stop = false;    // the engine ends
    bool closed = false;  // the engine's thread takes no more errands

    void notice_cancel() noexcept {
        {
            const std::lock_guard lock(mutex);
            look = true;
        }
        changed.notify_one();
    }
};

}  // namespace engine

struct Reply::Impl {
    using Clock = std::chrono::steady_clock;

    Impl(std::shared_ptr<engine::Mailbox> m, Request r, std::vector<TokenId> ids)
        : mailbox(std::move(m)), request(std::move(r)), prompt(std::move(ids)), samples(request.samples),
          running(request.samples), texts(request.samples), seen(request.samples) {}

    const std::shared_ptr<engine::Mailbox> mailbox;
    const Request request;
    const std::vector<TokenId> prompt;
    // Ready for when there is no memory to say so.
    const Error no_memory{ErrorCode::out_of_memory, "the host's memory is exhausted; the request was given up"};
    const Clock::time_point submitted = Clock::now();
    std::atomic<bool> cancelled{false};

    struct Sample {
        bool ended = false;
        FinishReason reason = FinishReason::stop;
        std::optional<Error> error{};
        std::uint32_t dropped = 0;
    };
    mutable std::mutex mutex;  // guards what follows, up to the reader's part
    std::condition_variable changed;
    std::vector<Sample> samples;
    std::uint32_t running;  // samples that have not ended
    std::deque<Piece> pieces;
    std::vector<TokenScore> prompt_scores;
    bool prompt_scored = false;
    std::uint32_t cached_tokens = 0, generated = 0;
    Clock::time_point started{}, first_token{}, last_token{};

    // The reader's.
    std::vector<std::string> texts;
    std::vector<std::vector<TokenId>> seen;
    bool detached = false;

    std::optional<Piece> take();
};

}  // namespace tern
