// One sample of one request, as the scheduler sees it.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include <tern/engine.h>

#include "base/aligned_buffer.h"
#include "engine/stop_filter.h"
#include "kv/prefix_cache.h"

namespace tern::engine {

struct Sequence {
    Sequence(std::shared_ptr<Reply::Impl> r, std::uint32_t number, kv::PageTable pages, Sampler s)
        : reply(std::move(r)), sample(number), table(std::move(pages)), sampler(std::move(s)), stop({}) {}

    std::shared_ptr<Reply::Impl> reply;
    std::uint32_t sample;
    std::list<Sequence> siblings{};  // further samples, that share the prompt when it is computed

    std::vector<TokenId> tokens{};  // prompt and generated; the cache holds the first table.length() of them
    kv::PageTable table;
    kv::PrefixCache::Node* node = nullptr;  // of the last block that the prefix cache knows; null: not taking part
    std::uint32_t known_blocks = 0;         // blocks that the prefix cache knows
    bool cacheable = true;                  // its cache is a function of its tokens; false after a slide
    base::AlignedBuffer parked{};           // its pages while it is parked, if they were copied …
    std::uint32_t parked_length = 0;        // … and the positions in them
    bool was_parked = false;                // it waits to go on

    std::uint64_t arrival = 0;
    std::int32_t priority = 0;
    std::optional<std::chrono::steady_clock::time_point> deadline{};

    Sampler sampler;
    StopFilter stop;
    std::optional<StreamDecoder> decoder{};
    std::uint32_t generated = 0;
    std::vector<TokenId> unseen{};     // generated since the last piece
    std::vector<TokenScore> scores{};  // of unseen
    bool ended = false;

    std::uint32_t length() const noexcept { return table.length(); }
    std::uint32_t missing() const noexcept { return static_cast<std::uint32_t>(tokens.size()) - table.length(); }
    // It goes on from a token that was generated, one at a time.
    bool decodes() const noexcept { return generated > 0 && missing() == 1; }
};

}  // namespace tern::engine
