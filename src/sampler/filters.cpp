#include "sampler/filters.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tern::sampler {
namespace {

bool by_id(const Candidate& a, const Candidate& b) { return a.id < b.id; }

bool by_logit(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

double total_probability(const std::vector<Candidate>& candidates) {
    double total = 0;
    for (const Candidate& c : candidates) total += static_cast<double>(c.p);
    return total;
}

// Keeps the first ones in the order of `before` whose probabilities reach `mass` together. Sorts only as many as it
// takes: a prefix that grows.
template <class Before>
void keep_mass(std::vector<Candidate>& candidates, double mass, Before before) {
    double sum = 0;
    std::size_t keep = 0;
    for (std::size_t length = 64; keep < candidates.size(); length *= 4) {
        const auto begin = candidates.begin() + static_cast<std::ptrdiff_t>(keep);
        const std::size_t step = std::min(length, candidates.size() - keep);
        const auto end = begin + static_cast<std::ptrdiff_t>(step);
        if (end != candidates.end()) std::nth_element(begin, end, candidates.end(), before);
        std::sort(begin, end, before);
        for (auto it = begin; it != end; ++it) {
            sum += static_cast<double>(it->p);
            ++keep;
            if (sum >= mass) {
                candidates.resize(keep);
                std::sort(candidates.begin(), candidates.end(), by_id);
                return;
            }
        }
    }
    std::sort(candidates.begin(), candidates.end(), by_id);
}

}  // namespace

bool block_maxima(std::span<const float> logits, std::vector<float>& maxima) {
    // Independent lanes with the comparisons of SSE's maxps, so that the compiler may use it.
    constexpr std::size_t kLanes = 16;
    maxima.resize((logits.size() + kBlock - 1) / kBlock);
    bool ok = true;
    for (std::size_t b = 0; b < maxima.size(); ++b) {
        const float* x = logits.data() + b * kBlock;
        const std::size_t n = std::min(kBlock, logits.size() - b * kBlock);
        float greatest = -std::numeric_limits<float>::infinity();
        if (n == kBlock) {
            float lane[kLanes];
            std::uint32_t bad[kLanes] = {};
            for (std::size_t i = 0; i < kLanes; ++i) lane[i] = greatest;
            for (std::size_t k = 0; k < kBlock; k += kLanes)
                for (std::size_t i = 0; i < kLanes; ++i) {
                    const float v = x[k + i];
                    lane[i] = v > lane[i] ? v : lane[i];
                    bad[i] |= v <= std::numeric_limits<float>::max() ? 0u : 1u;
                }
            for (std::size_t i = 0; i < kLanes; ++i) {
                greatest = lane[i] > greatest ? lane[i] : greatest;
                ok &= bad[i] == 0;
            }
        } else {
            for (std::size_t i = 0; i < n; ++i) {
                greatest = x[i] > greatest ? x[i] : greatest;
                ok &= x[i] <= std::numeric_limits<float>::max();
            }
        }
        maxima[b] = greatest;
    }
    return ok;
}

void select_top_k(std::span<const float> logits, std::span<const float> maxima, std::size_t k,
                  std::vector<Candidate>& out) {
    out.clear();
    // A buffer of twice k: when it is full, its best k stay and the worst of them is what a later token must exceed
    // (a later one of the same logit has a higher id, so it loses). Linear time for any order of logits.
    const std::size_t full = std::max<std::size_t>(2 * k, 256);
    float threshold = -std::numeric_limits<float>::infinity();
    const auto cut = [&] {
        const auto kth = out.begin() + static_cast<std::ptrdiff_t>(k) - 1;
        std::nth_element(out.begin(), kth, out.end(), by_logit);
        threshold = kth->logit;
        out.resize(k);
    };
    for (std::size_t b = 0; b < maxima.size(); ++b) {
        if (!(maxima[b] > threshold)) continue;
        for (std::size_t i = b * kBlock; i < std::min((b + 1) * kBlock, logits.size()); ++i) {
            if (!(logits[i] > threshold)) continue;
            if (out.size() == full) cut();
            if (logits[i] > threshold) out.push_back({logits[i], 0.0f, static_cast<TokenId>(i)});
        }
    }
    if (out.size() > k) cut();
    std::sort(out.begin(), out.end(), by_id);
}

void keep_typical(std::vector<Candidate>& candidates, float typical_p) {
    // A token's surprise is -log p and the entropy its mean. With log p = logit - C for one C, the distance of the
    // two is |logit - mean logit|: no logarithm is needed. Logits are taken relative to the greatest, so that
    // a large common offset costs no precision.
    float greatest = candidates.front().logit;
    for (const Candidate& c : candidates) greatest = std::max(greatest, c.logit);
    const auto relative = [greatest](const Candidate& c) {
        return static_cast<double>(c.logit) - static_cast<double>(greatest);
    };
    double sum = 0;
    for (const Candidate& c : candidates) sum += static_cast<double>(c.p) * relative(c);
    const double total = total_probability(candidates);
    const double mean = sum / total;
    keep_mass(candidates, static_cast<double>(typical_p) * total, [&](const Candidate& a, const Candidate& b) {
        const double da = std::fabs(relative(a) - mean);
        const double db = std::fabs(relative(b) - mean);
        return da != db ? da < db : by_logit(a, b);
    });
}

void keep_top_p(std::vector<Candidate>& candidates, float top_p) {
    const double total = total_probability(candidates);
    const double mass = static_cast<double>(top_p) * total;
    // Tokens this improbable have less than half of 1 - top_p together, so the sum ends before them: they need not
    // be sorted.
    const double rest = (total - mass) / (2 * static_cast<double>(candidates.size()));
    std::erase_if(candidates, [rest](const Candidate& c) { return static_cast<double>(c.p) < rest; });
    keep_mass(candidates, mass, by_logit);
}

void keep_min_p(std::vector<Candidate>& candidates, float min_p) {
    float best = 0;
    for (const Candidate& c : candidates) best = std::max(best, c.p);
    // A product of two floats is exact in double.
    const double limit = static_cast<double>(min_p) * static_cast<double>(best);
    std::erase_if(candidates, [limit](const Candidate& c) { return static_cast<double>(c.p) < limit; });
}

}  // namespace tern::sampler
