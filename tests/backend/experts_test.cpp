// route, gather_experts, linear_experts, combine_experts: a mixture of experts as models build it.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "conformance.h"

namespace tern::test {
namespace {

TEST(Experts, AgreeWithTheDefinition) {
    constexpr std::uint64_t kWidth = 48, kOut = 29;
    for (const std::uint32_t experts : {1u, 4u, 33u})
        for (const std::uint32_t used : {1u, 2u, 4u})
            for (const std::uint32_t n : {1u, 2u, 70u})
                for (const bool normalise : {false, true}) {
                    if (used > experts) continue;
                    const Matrix x(n, kWidth, 1), router(experts, kWidth, 2), w(experts * kOut, kWidth, 3);
                    graph::Graph g;
                    const graph::Value h = g.embed(x.weight());
                    const graph::Value routing = g.route(g.linear(h, router.weight()), {.used = used, .normalise = normalise});
                    const graph::Value y = g.linear_experts(g.gather_experts(h, routing), routing, w.weight(experts));
                    g.set_logits(g.take_outputs(g.combine_experts(y, routing)));
                    std::vector<std::vector<float>> results{conform(g, {{{n}}})};
                    for (const BackendSetup& setup : near_setups()) results.push_back(run_graph(setup, g, {{{n}}}));
                    for (std::uint32_t t = 0; t < n; ++t) {
                        const auto dot = [&](const float* a) {
                            return std::inner_product(a, a + kWidth, x.row(t), 0.0);
                        };
                        std::vector<double> p(experts);
                        double sum = 0, chosen = 0;
                        for (std::uint32_t e = 0; e < experts; ++e) sum += p[e] = std::exp(dot(router.row(e)));
                        for (double& v : p) v /= sum;
                        std::vector<std::uint32_t> order(experts);
                        std::iota(order.begin(), order.end(), 0u);
                        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return p[a] > p[b]; });
                        // A near tie may fall either way in f32; the seeds have none.
                        if (used < experts) {
                            ASSERT_GT(p[order[used - 1]], p[order[used]] * 1.0001);
                        }
                        for (std::uint32_t i = 0; i < used; ++i) chosen += p[order[i]];
                        for (std::uint64_t r = 0; r < kOut; ++r) {
                            double exact = 0, size = 0;
                            for (std::uint32_t i = 0; i < used; ++i) {
                                const double weight = p[order[i]] / (normalise ? chosen : 1.0);
                                const float* row = w.row(order[i] * kOut + r);
                                exact += weight * dot(row);
                                for (std::uint64_t k = 0; k < kWidth; ++k) size += weight * std::abs(row[k] * x.row(t)[k]);
                            }
                            // Router logits (size about 7·7, 48 terms) pass their rounding errors through exp. The
                            // bound counts the terms of the sums, so it holds for any order of additions.
                            for (const std::vector<float>& got : results)
                                expect_near(got[t * kOut + r], exact, size, 64 * 50);
                        }
                    }
                }
}

// Ties go to the lower expert, and an expert that nobody chose is skipped.
TEST(Experts, TiesGoToTheLowerExpert) {
    constexpr std::uint32_t kExperts = 5;
    Matrix x(3, 4, 1), router(kExperts, 4, 2), w(kExperts, 4, 3);
    std::fill(router.data.begin(), router.data.end(), 0.0f);
    graph::Graph g;
    const graph::Value h = g.embed(x.weight());
    const graph::Value routing = g.route(g.linear(h, router.weight()), {.used = 2, .normalise = true});
    const graph::Value y = g.linear_experts(g.gather_experts(h, routing), routing, w.weight(kExperts));
    g.set_logits(g.take_outputs(g.combine_experts(y, routing)));
    const std::vector<float> got = conform(g, {{{3}}});
    for (std::uint32_t t = 0; t < 3; ++t) {
        double exact = 0;
        for (int e = 0; e < 2; ++e)
            for (int k = 0; k < 4; ++k) exact += 0.5 * x.row(t)[k] * w.row(static_cast<std::uint64_t>(e))[k];
        EXPECT_NEAR(got[t], exact, 1e-5);
    }
}

}  // namespace
}  // namespace tern::test
