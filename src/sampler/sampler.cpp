#include <tern/sampler.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>

#include <tern/error.h>

#include "kernels/registry.h"
#include "sampler/filters.h"
#include "sampler/random.h"

namespace tern {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

[[noreturn]] void refuse(std::string_view field, float value, std::string_view range) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} is {}; it must be {}", field, value, range));
}

void check_token(std::string_view what, TokenId token, std::uint32_t vocab_size) {
    if (token < 0 || static_cast<std::uint32_t>(token) >= vocab_size)
        throw Error(ErrorCode::invalid_argument, fmt::format("{} names token {}; the vocabulary has the ids 0 to {}",
                                                             what, token, vocab_size - 1));
}

void check(const SamplerOptions& o, std::uint32_t vocab_size) {
    if (vocab_size == 0 || vocab_size > static_cast<std::uint32_t>(std::numeric_limits<TokenId>::max()))
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("the vocabulary has {} tokens; a sampler needs 1 to 2147483647", vocab_size));
    if (!(o.temperature >= 0 && o.temperature <= kLargest)) refuse("temperature", o.temperature, "0 or more, finite");
    const auto check_fraction = [](std::string_view field, float value) {
        if (!(value >= 0 && value <= 1)) refuse(field, value, "from 0 to 1");
    };
    check_fraction("top_p", o.top_p);
    check_fraction("min_p", o.min_p);
    check_fraction("typical_p", o.typical_p);
    if (!(o.repeat_penalty > 0 && o.repeat_penalty <= kLargest))
        refuse("repeat_penalty", o.repeat_penalty, "more than 0, finite (1 is off)");
    if (!std::isfinite(o.frequency_penalty)) refuse("frequency_penalty", o.frequency_penalty, "finite (0 is off)");
    if (!std::isfinite(o.presence_penalty)) refuse("presence_penalty", o.presence_penalty, "finite (0 is off)");
    if (o.penalty_last_n < -1)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("penalty_last_n is {}; it must be -1 (all tokens), 0 (off) or more", o.penalty_last_n));
    for (const auto& [token, bias] : o.logit_bias) {
        check_token("logit_bias", token, vocab_size);
        if (!(bias <= kLargest))
            refuse(fmt::format("logit_bias of token {}", token), bias, "finite, or -inf to forbid the token");
    }
}

// Sums of finite values stay finite: only the caller's -infinity forbids a token.
float clamp_finite(float x) { return std::clamp(x, -kLargest, kLargest); }

}  // namespace

struct Sampler::Impl {
    SamplerOptions options;
    std::uint32_t vocab_size;
    sampler::Xoshiro256 random;
    bool penalties;
    void (*softmax)(const float*, float*, std::size_t);  // the same bits for every instruction set

    // The last penalty_last_n tokens (a ring, empty for "all"), and how often each occurs among them.
    std::vector<TokenId> ring;
    std::size_t ring_next = 0;
    std::unordered_map<TokenId, std::uint32_t> counts;

    // Scratch, kept between calls.
    std::vector<float> logits;
    std::vector<float> maxima;  // of blocks
    std::vector<float> values;
    std::vector<sampler::Candidate> candidates;

    Impl(const SamplerOptions& o, std::uint32_t size)
        : options(o),
          vocab_size(size),
          random(o.seed),
          penalties(o.penalty_last_n != 0 &&
                    (o.repeat_penalty != 1 || o.frequency_penalty != 0 || o.presence_penalty != 0)),
          softmax(kernels::select(kernels::detect_cpu())->table.softmax) {}

    void accept(TokenId token) {
        check_token("accept", token, vocab_size);
        if (!penalties) return;
        const auto window = static_cast<std::size_t>(std::max(options.penalty_last_n, 0));
        if (window > 0) {
            if (ring.size() < window) {
                ring.push_back(token);
            } else {
                const auto oldest = counts.find(ring[ring_next]);
                if (--oldest->second == 0) counts.erase(oldest);
                ring[ring_next] = token;
                ring_next = (ring_next + 1) % window;
            }
        }
        ++counts[token];
    }

    // Leaves the maxima of the row's blocks.
    void check_logits(std::span<const float> row) {
        if (row.size() != vocab_size)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("{} logits for a vocabulary of {} tokens", row.size(), vocab_size));
        if (sampler::block_maxima(row, maxima)) return;
        const auto bad = std::find_if(row.begin(), row.end(), [](float x) { return !(x <= kLargest); });
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("the logit of token {} is {}: the model's weights or its computation are damaged",
                                bad - row.begin(), *bad));
    }

    void adjust() {
        for (const auto& [token, bias] : options.logit_bias) {
            float& x = logits[static_cast<std::size_t>(token)];
            x = bias == -kInfinity || x == -kInfinity ? -kInfinity : clamp_finite(x + bias);
        }
        if (!penalties) return;
        for (const auto& [token, count] : counts) {
            float& x = logits[static_cast<std::size_t>(token)];
            if (x == -kInfinity) continue;
            const float repeated = x > 0 ? x / options.repeat_penalty : x * options.repeat_penalty;
            const float cost = static_cast<float>(count) * options.frequency_penalty + options.presence_penalty;
            x = clamp_finite(clamp_finite(repeated) - clamp_finite(cost));
        }
    }

    void filter(std::span<const float> row) {
        const bool by_probability = options.typical_p < 1 || options.top_p < 1 || options.min_p > 0;
        const bool limited = options.top_k > 0 && options.top_k < vocab_size;
        sampler::select_top_k(row, maxima, limited ? options.top_k : vocab_size, candidates);
        if (!by_probability) return;
        values.resize(candidates.size());
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = candidates[i].logit;
        softmax(values.data(), values.data(), values.size());
        for (std::size_t i = 0; i < values.size(); ++i) candidates[i].p = values[i];
        if (options.typical_p < 1) sampler::keep_typical(candidates, options.typical_p);
        if (options.top_p < 1) sampler::keep_top_p(candidates, options.top_p);
        if (options.min_p > 0) sampler::keep_min_p(candidates, options.min_p);
    }

    TokenId draw() {
        float greatest = candidates.front().logit;
        for (const sampler::Candidate& c : candidates) greatest = std::max(greatest, c.logit);
        values.resize(candidates.size());
        // The greatest becomes 0 before the division: a tiny temperature gives -infinity for the others, never NaN.
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = (candidates[i].logit - greatest) / options.temperature;
        softmax(values.data(), values.data(), values.size());
        double total = 0;
        for (const float p : values) total += static_cast<double>(p);
        const double target = random.uniform() * total;
        double sum = 0;
        std::size_t chosen = 0;
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (values[i] == 0) continue;
            chosen = i;  // the last possible one, should the product have been rounded up to the total
            sum += static_cast<double>(values[i]);
            if (sum > target) break;
        }
        return candidates[chosen].id;
    }

    TokenId sample(std::span<const float> row) {
        check_logits(row);
        if (penalties || !options.logit_bias.empty()) {
            logits.assign(row.begin(), row.end());
            adjust();
            row = logits;
            sampler::block_maxima(row, maxima);
        }
        const auto block = std::max_element(maxima.begin(), maxima.end());  // the first of equals
        if (*block == -kInfinity)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("no token can be chosen: all {} are forbidden (-infinity) by the logits or by "
                                    "logit_bias",
                                    vocab_size));
        if (options.temperature == 0) {
            const auto from = row.begin() + (block - maxima.begin()) * static_cast<std::ptrdiff_t>(sampler::kBlock);
            return static_cast<TokenId>(std::find(from, row.end(), *block) - row.begin());
        }
        filter(row);
        return draw();
    }
};

Sampler::Sampler(const SamplerOptions& options, std::uint32_t vocab_size) {
    check(options, vocab_size);
    impl_ = std::make_unique<Impl>(options, vocab_size);
}
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

TokenId Sampler::sample(std::span<const float> logits) { return impl_->sample(logits); }

void Sampler::accept(TokenId token) { impl_->accept(token); }
void Sampler::accept(std::span<const TokenId> tokens) {
    for (const TokenId token : tokens) impl_->accept(token);
}

const SamplerOptions& Sampler::options() const noexcept { return impl_->options; }

}  // namespace tern
