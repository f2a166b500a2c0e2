// The filters, each on tokens in the order of their ids and leaving them in that order, so that no sum depends on how
// the standard library's selection algorithms arrange equal or unsorted elements.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <tern/tokenizer.h>

namespace tern::sampler {

struct Candidate {
    float logit;
    float p;  // of a softmax at the temperature 1 over all candidates of the first filter
    TokenId id;
};

// The greatest logit of each kBlock of them; vocabularies are long, and most blocks hold nothing that matters. Returns
// false if any is NaN or above the greatest finite number.
inline constexpr std::size_t kBlock = 128;
bool block_maxima(std::span<const float> logits, std::vector<float>& maxima);

// The k greatest logits above -infinity; of equal ones the lower ids. p is left 0.
void select_top_k(std::span<const float> logits, std::span<const float> maxima, std::size_t k,
                  std::vector<Candidate>& out);

// Each needs at least one candidate and leaves at least one.
void keep_typical(std::vector<Candidate>& candidates, float typical_p);
void keep_top_p(std::vector<Candidate>& candidates, float top_p);
void keep_min_p(std::vector<Candidate>& candidates, float min_p);

}  // namespace tern::sampler
