// route with all its options, through what gather, linear_experts with a bias and combine make of it.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "conformance.h"

namespace tern::test {
namespace {

struct Case {
    std::uint32_t experts, used;
    graph::RouteScore score;
    bool normalise, biased;
    std::uint32_t groups = 1, groups_used = 1;
    float scale = 1.0f;
};

// The weights that the definition gives a row of logits, by expert; 0 for what is not chosen.
std::vector<double> weights_of(const Case& c, const float* x, const float* bias) {
    std::vector<double> s(x, x + c.experts), choice;
    if (c.score == graph::RouteScore::softmax) {
        double sum = 0;
        for (double& v : s) sum += v = std::exp(v);
        for (double& v : s) v /= sum;
    } else if (c.score == graph::RouteScore::sigmoid) {
        for (double& v : s) v = 1 / (1 + std::exp(-v));
    }
    choice = s;
    if (c.biased)
        for (std::uint32_t e = 0; e < c.experts; ++e) choice[e] += bias[e];
    const std::uint32_t n = c.experts / c.groups;
    std::vector<std::pair<double, std::uint32_t>> groups;
    for (std::uint32_t g = 0; g < c.groups; ++g) {
        std::vector<double> of(choice.begin() + g * n, choice.begin() + (g + 1) * n);
        std::sort(of.rbegin(), of.rend());
        groups.emplace_back(n > 1 ? of[0] + of[1] : of[0], g);
    }
    std::sort(groups.rbegin(), groups.rend());
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < c.groups_used; ++i)
        for (std::uint32_t e = 0; e < n; ++e) order.push_back(groups[i].second * n + e);
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return choice[a] > choice[b]; });
    order.resize(c.used);
    double sum = 0;
    std::vector<double> w(c.experts, 0.0);
    for (const std::uint32_t e : order) sum += w[e] = c.score == graph::RouteScore::softmax_chosen ? std::exp(s[e]) : s[e];
    for (double& v : w) v = (c.normalise || c.score == graph::RouteScore::softmax_chosen ? v / sum : v) * static_cast<double>(c.scale);
    return w;
}

using enum graph::RouteScore;
const Case kCases[] = {
    {8, 2, softmax, false, false},           {8, 2, softmax, true, true},
    {8, 3, sigmoid, true, true, 1, 1, 2.5f}, {8, 3, sigmoid, false, false},
    {32, 4, softmax_chosen, false, false},   {16, 4, sigmoid, true, true, 4, 2, 1.5f},
    {16, 8, softmax, false, false, 8, 4},    {5, 5, softmax_chosen, false, true},
};

TEST(Route, AgreesWithTheDefinition) {
    for (const Case& c : kCases)
        for (const std::uint32_t n : {1u, 9u, 31u}) {
            constexpr std::uint64_t kWidth = 24, kOut = 7;
            const Matrix x(n, kWidth, 1), logits(n, c.experts, 2), w(c.experts * kOut, kWidth, 3), b(c.experts, kOut, 4);
            const Matrix bias(1, c.experts, 5, 0.3f);
            graph::Graph g;
            graph::Routing options{.used = c.used, .score = c.score, .normalise = c.normalise, .scale = c.scale,
                                   .groups = c.groups, .groups_used = c.groups_used};
            if (c.biased) options.bias = bias.weight();
            const graph::Value routing = g.route(g.embed(logits.weight()), options);
            const graph::Value rows = g.gather_experts(g.embed(x.weight()), routing);
            const graph::Value y = g.linear_experts(rows, routing, w.weight(c.experts), b.weight());
            g.set_logits(g.take_outputs(g.combine_experts(y, routing)));
            const std::vector<float> got = conform(g, {{{n}}});
            for (std::uint32_t t = 0; t < n; ++t) {
                const std::vector<double> weights = weights_of(c, logits.row(t), bias.row(0));
                for (std::uint64_t r = 0; r < kOut; ++r) {
                    double exact = 0, size = 0;
                    for (std::uint32_t e = 0; e < c.experts; ++e) {
                        if (weights[e] == 0) continue;
                        const float* row = w.row(e * kOut + r);
                        exact += weights[e] * (std::inner_product(row, row + kWidth, x.row(t), 0.0) + b.row(e)[r]);
                        for (std::uint64_t k = 0; k < kWidth; ++k) size += weights[e] * std::abs(row[k] * x.row(t)[k]);
                        size += weights[e] * std::abs(b.row(e)[r]);
                    }
                    expect_near(got[t * kOut + r], exact, size, 64);
                }
            }
        }
}

// Without a product, so that devices give bits, too; logits that are no numbers as well.
TEST(Route, WeightsAndChoiceAlone) {
    for (const Case& c : kCases)
        for (const bool numbers : {true, false}) {
            constexpr std::uint32_t n = 12;
            const Matrix x(n, 5, 1), bias(1, c.experts, 5, 0.3f);
            Matrix logits(n, c.experts, 2, 4.0f);
            if (!numbers) {
                logits.data[1] = NAN;
                logits.data[c.experts] = NAN;
                logits.data[3 * c.experts - 1] = NAN;
                logits.data[3 * c.experts + 2] = INFINITY;
                logits.data[4 * c.experts] = -INFINITY;
                std::fill_n(logits.data.begin() + 5 * c.experts, c.experts, -INFINITY);
                std::fill_n(logits.data.begin() + 6 * c.experts, c.experts, NAN);
                std::fill_n(logits.data.begin() + 7 * c.experts, c.experts, -0.0f);
                for (std::uint32_t e = 0; e < c.experts; ++e) logits.data[8 * c.experts + e] *= 30;
            }
            graph::Graph g;
            graph::Routing options{.used = c.used,
                                   .score = c.score,
                                   .normalise = c.normalise,
                                   .scale = c.scale,
                                   .groups = c.groups,
                                   .groups_used = c.groups_used};
            if (c.biased) options.bias = bias.weight();
            const graph::Value routing = g.route(g.embed(logits.weight()), options);
            g.set_logits(
                g.take_outputs(g.combine_experts(g.gather_experts(g.embed(x.weight()), routing), routing)));
            if (numbers)
                conform(g, {{{n}}});
            else
                conform_on_devices(g, {{{n}}});
        }
}

// The bias decides who is chosen, not with which weight; ties go to the lower index, between groups as well.
TEST(Route, TiesAndBias) {
    Matrix x(1, 1, 1), logits(1, 8, 2), w(8, 1, 3), bias(1, 8, 4);
    x.data = {1.0f};
    std::fill(logits.data.begin(), logits.data.end(), 0.0f);
    for (std::size_t e = 0; e < 8; ++e) w.data[e] = static_cast<float>(1 << e);
    bias.data = {0, 0, 0, 5, 0, 0, 0, 5};
    const auto sum_of = [&](const graph::Routing& options) {
        graph::Graph g;
        const graph::Value routing = g.route(g.embed(logits.weight()), options);
        const graph::Value y = g.linear_experts(g.gather_experts(g.embed(x.weight()), routing), routing, w.weight(8));
        g.set_logits(g.take_outputs(g.combine_experts(y, routing)));
        return conform(g, {{{1}}})[0];
    };
    using enum graph::RouteScore;
    EXPECT_EQ(sum_of({.used = 2, .score = sigmoid}), 0.5f * (1 + 2));
    EXPECT_EQ(sum_of({.used = 2, .score = sigmoid, .bias = bias.weight()}), 0.5f * (8 + 128));
    EXPECT_EQ(sum_of({.used = 3, .score = sigmoid, .groups = 4, .groups_used = 2}), 0.5f * (1 + 2 + 4));
    EXPECT_EQ(sum_of({.used = 2, .score = sigmoid, .bias = bias.weight(), .groups = 4, .groups_used = 1}), 0.5f * (8 + 4));
}

}  // namespace
}  // namespace tern::test
