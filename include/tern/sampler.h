// Chooses the next token from a row of logits.
//
// The steps, in this order; each one sees what the steps before it left, renormalised to a sum of 1:
//   1. logit_bias         logit += bias
//   2. penalties          repeat, then frequency and presence, on tokens among the last penalty_last_n accepted
//   3. temperature == 0   the greatest logit wins, ties go to the lower id; the steps below do not happen
//   4. top_k, typical_p, top_p, min_p   take tokens away, at the temperature 1; at least one token always stays
//   5. temperature        probability = softmax(logit / temperature) of the tokens that are left
//   6. one random number picks among them, in the order of their ids
// Where tokens have equal probability, the lower id is kept first.
//
// Only IEEE basic operations in a fixed order and Tern's own exp are used, so the same logits, options and seed give
// the same tokens on every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <tern/export.h>
#include <tern/tokenizer.h>

namespace tern {

struct SamplerOptions {
    // Finite, >= 0. 0: greedy. 1: the model's own distribution; greater is more varied. Tiny values (1e-9) act as
    // greedy, huge ones (1e9) draw evenly from the tokens that the filters left.
    float temperature = 0.8f;
    // The k most probable tokens. 0 or at least the vocabulary's size: off.
    std::uint32_t top_k = 40;
    // 0 to 1: the fewest most probable tokens whose probabilities reach top_p together. 1: off. 0: only the best.
    float top_p = 0.95f;
    // 0 to 1: tokens at least min_p times as probable as the best one. 0: off. 1: only the best and its equals.
    float min_p = 0.05f;
    // 0 to 1: locally typical sampling (Meister et al. 2022, arXiv:2202.00666): the fewest tokens whose surprise is
    // nearest to the distribution's entropy and whose probabilities reach typical_p together. 1: off.
    float typical_p = 1.0f;

    // Finite, > 0: a repeated token's positive logit is divided by it, a negative one multiplied (Keskar et al.
    // 2019, arXiv:1909.05858). 1: off; greater discourages repetition, less encourages it.
    float repeat_penalty = 1.0f;
    // Finite: logit -= frequency_penalty * (times the token occurs) + presence_penalty. 0: off.
    float frequency_penalty = 0.0f;
    float presence_penalty = 0.0f;
    // How many of the tokens accepted last the penalties look at. 0: none. -1: all.
    std::int32_t penalty_last_n = 64;

    // Added to the logits of these tokens. -infinity forbids a token; NaN and +infinity are refused. The values of
    // a token that is named several times add up.
    std::vector<std::pair<TokenId, float>> logit_bias{};

    // The same seed gives the same choices. Any value.
    std::uint64_t seed = 0;
};

// One sequence's sampler: its options, its random numbers and the tokens it has seen. Not for use by two threads at
// once.
class TERN_API Sampler {
public:
    // Error(invalid_argument) names the option that is out of its range; a vocabulary of 1 to 2^31 - 1 tokens.
    Sampler(const SamplerOptions& options, std::uint32_t vocab_size);
    Sampler(Sampler&&) noexcept;
    Sampler& operator=(Sampler&&) noexcept;
    ~Sampler();

    // The next token. Takes one random number, or none at temperature 0; does not accept() what it chose.
    // -infinity marks a token that must not be chosen. Error(invalid_argument) when logits.size() is not the
    // vocabulary's size, when a logit is NaN or +infinity, and when every token is at -infinity; the state is then
    // as before.
    TokenId sample(std::span<const float> logits);

    // A token became part of the text (of the prompt, or chosen): the penalties count it from now on.
    // Error(invalid_argument) for an id outside the vocabulary.
    void accept(TokenId token);
    void accept(std::span<const TokenId> tokens);

    const SamplerOptions& options() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern
