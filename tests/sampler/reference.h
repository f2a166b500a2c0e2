// The sampler's definition, as include/tern/sampler.h words it, in long double with full sorts: nothing is shared with
// src/sampler.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include <tern/sampler.h>

namespace tern::test {

struct Distribution {
    std::map<TokenId, long double> p;  // of the tokens that are left
    // How near a filter's decision was to falling the other way, relative: below about 1e-5 f32 may decide otherwise.
    long double margin = 1;
};

inline Distribution reference_distribution(const SamplerOptions& o, std::vector<long double> x,
                                           const std::vector<TokenId>& history) {
    for (const auto& [id, bias] : o.logit_bias) x[static_cast<std::size_t>(id)] += bias;
    std::vector<TokenId> window = history;
    if (o.penalty_last_n >= 0 && window.size() > static_cast<std::size_t>(o.penalty_last_n))
        window.erase(window.begin(), window.end() - o.penalty_last_n);
    std::map<TokenId, int> counts;
    for (const TokenId id : window) ++counts[id];
    for (const auto& [id, count] : counts) {
        long double& l = x[static_cast<std::size_t>(id)];
        l = l > 0 ? l / o.repeat_penalty : l * o.repeat_penalty;
        l -= static_cast<long double>(count) * o.frequency_penalty + o.presence_penalty;
    }

    std::vector<std::size_t> ids;  // best first, ties by id
    for (std::size_t i = 0; i < x.size(); ++i)
        if (x[i] > -std::numeric_limits<long double>::infinity()) ids.push_back(i);
    const auto better = [&](std::size_t a, std::size_t b) { return x[a] != x[b] ? x[a] > x[b] : a < b; };
    std::sort(ids.begin(), ids.end(), better);

    Distribution d;
    if (o.temperature == 0) {
        d.p[static_cast<TokenId>(ids[0])] = 1;
        return d;
    }
    std::vector<long double> p(x.size());
    const auto softmax = [&](long double temperature) {
        long double max = x[ids[0]], sum = 0;
        for (const std::size_t i : ids) max = std::max(max, x[i]);
        for (const std::size_t i : ids) sum += p[i] = std::exp((x[i] - max) / temperature);
        for (const std::size_t i : ids) p[i] /= sum;
    };
    // The shortest prefix of ids that reaches the mass.
    const auto cut_at_mass = [&](long double mass) {
        long double sum = 0;
        std::size_t n = 0;
        while (n < ids.size()) {
            sum += p[ids[n++]];
            d.margin = std::min(d.margin, std::fabs(sum - mass));
            if (sum >= mass) break;
        }
        ids.resize(n);
    };

    if (o.top_k > 0 && o.top_k < ids.size()) ids.resize(o.top_k);
    if (o.typical_p < 1) {
        softmax(1);
        long double entropy = 0;
        for (const std::size_t i : ids)
            if (p[i] > 0) entropy -= p[i] * std::log(p[i]);
        std::vector<long double> distance(x.size());
        for (const std::size_t i : ids) distance[i] = std::fabs(-std::log(p[i]) - entropy);
        std::sort(ids.begin(), ids.end(), [&](std::size_t a, std::size_t b) {
            return distance[a] != distance[b] ? distance[a] < distance[b] : better(a, b);
        });
        for (std::size_t i = 1; i < ids.size(); ++i)
            if (x[ids[i]] != x[ids[i - 1]])
                d.margin = std::min(d.margin, distance[ids[i]] - distance[ids[i - 1]]);
        cut_at_mass(o.typical_p);
        std::sort(ids.begin(), ids.end(), better);
    }
    if (o.top_p < 1) {
        softmax(1);
        cut_at_mass(o.top_p);
    }
    if (o.min_p > 0) {
        softmax(1);
        const long double limit = o.min_p * p[ids[0]];
        for (const std::size_t i : ids) d.margin = std::min(d.margin, std::fabs(p[i] / limit - 1));
        std::erase_if(ids, [&](std::size_t i) { return p[i] < limit; });
    }
    softmax(o.temperature);
    for (const std::size_t i : ids) d.p[static_cast<TokenId>(i)] = p[i];
    return d;
}

}  // namespace tern::test
