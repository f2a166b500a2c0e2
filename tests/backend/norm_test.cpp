// rms_norm and layer_norm, of rows and of the parts of rows.
#include <cmath>

#include "conformance.h"

namespace tern::test {
namespace {

constexpr std::uint64_t kWidths[] = {1, 7, 64, 300, 5120};

TEST(RmsNorm, AgreesWithTheDefinition) {
    for (const std::uint64_t width : kWidths)
        for (const std::uint32_t n : {1u, 2u, 9u})
            for (const std::uint32_t groups : {1u, 3u})
                for (const bool own : {false, true}) {
                    const Matrix x(n, width * groups, 1), w(1, own ? width * groups : width, 3);
                    graph::Graph g;
                    g.set_logits(g.take_outputs(g.rms_norm(g.embed(x.weight()), w.weight(), 1e-5f, groups)));
                    const std::vector<float> got = conform(g, {{{n}}});
                    for (std::uint32_t part = 0; part < n * groups; ++part) {
                        const float* in = x.data.data() + part * width;
                        const float* weight = w.data.data() + (own ? part % groups * width : 0);
                        double sum = 0;
                        for (std::uint64_t i = 0; i < width; ++i) sum += std::pow(in[i], 2);
                        const double inv =
                            1.0 / std::sqrt(sum / static_cast<double>(width) + static_cast<double>(1e-5f));
                        for (std::uint64_t i = 0; i < width; ++i) {
                            const double exact = in[i] * inv * weight[i];
                            // The square root halves the relative error of the sum of width / 16 + 4 terms.
                            expect_near(got[part * width + i], exact, std::abs(exact),
                                        static_cast<double>(width) / 32 + 12);
                        }
                    }
                }
}

TEST(LayerNorm, AgreesWithTheDefinition) {
    for (const std::uint64_t width : {7u, 64u, 300u, 5120u})
        for (const std::uint32_t groups : {1u, 3u})
            for (const bool own : {false, true})
                for (const bool biased : {false, true}) {
                    constexpr std::uint32_t n = 5;
                    const std::uint64_t weights = own ? width * groups : width;
                    const Matrix x(n, width * groups, 1), w(1, weights, 3), b(1, weights, 4);
                    graph::Graph g;
                    g.set_logits(g.take_outputs(g.layer_norm(g.embed(x.weight()), w.weight(),
                                                             biased ? b.weight() : graph::Weight{}, 1e-5f, groups)));
                    const std::vector<float> got = conform(g, {{{n}}});
                    for (std::uint32_t part = 0; part < n * groups; ++part) {
                        const float* in = x.data.data() + part * width;
                        const std::size_t at = own ? part % groups * width : 0;
                        double mean = 0, variance = 0, most = 0;
                        for (std::uint64_t i = 0; i < width; ++i) mean += in[i], most = std::max<double>(most, std::abs(in[i]));
                        mean /= static_cast<double>(width);
                        for (std::uint64_t i = 0; i < width; ++i) variance += std::pow(in[i] - mean, 2);
                        variance /= static_cast<double>(width);
                        const double inv = 1.0 / std::sqrt(variance + static_cast<double>(1e-5f));
                        for (std::uint64_t i = 0; i < width; ++i) {
                            const double scaled = (in[i] - mean) * inv * w.data[at + i];
                            const double exact = scaled + (biased ? b.data[at + i] : 0.0f);
                            // The mean is off by its sum's roundings times the largest term, and moves all by that.
                            const double terms = static_cast<double>(width) / 16 + 8;
                            const double size = std::abs(scaled) + std::abs(most * inv * w.data[at + i]) + std::abs(exact);
                            expect_near(got[part * width + i], exact, size, terms + 12);
                        }
                    }
                }
}

}  // namespace
}  // namespace tern::test
