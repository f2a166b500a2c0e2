#include <cmath>

#include "conformance.h"

namespace tern::test {
namespace {

TEST(Rope, AgreesWithTheDefinition) {
    for (const auto mode : {kernels::RopeMode::adjacent, kernels::RopeMode::halves})
        for (const std::uint32_t head_dim : {2u, 10u, 64u, 80u})
            for (const std::uint32_t position : {0u, 1u, 777u, 131071u}) {
                const std::uint32_t heads = 3, n = 4, n_rot = head_dim == 80 ? 32 : head_dim;
                const Matrix x(n, heads * head_dim, head_dim);
                graph::Graph g;
                graph::Rope rope{.inv_freq = std::vector<double>(n_rot / 2), .factor = 1.0f, .mode = mode};
                kernels::rope_inv_freq(10000.0, n_rot, rope.inv_freq.data());
                const std::uint32_t id = g.add_rope(rope);
                g.set_logits(g.take_outputs(g.rope(g.embed(x.weight()), heads, id)));
                const std::vector<float> got = conform(g, {{{n, position}}});
                for (std::uint32_t t = 0; t < n; ++t)
                    for (std::uint32_t h = 0; h < heads; ++h) {
                        const float* in = x.row(t) + h * head_dim;
                        const float* out = got.data() + (t * heads + h) * head_dim;
                        for (std::uint32_t i = 0; i < n_rot / 2; ++i) {
                            const std::uint32_t a = mode == kernels::RopeMode::adjacent ? 2 * i : i;
                            const std::uint32_t b = mode == kernels::RopeMode::adjacent ? 2 * i + 1 : i + n_rot / 2;
                            const long double angle =
                                static_cast<long double>(position + t) *
                                std::pow(10000.0L, -2.0L * static_cast<long double>(i) / static_cast<long double>(n_rot));
                            const double c = static_cast<double>(std::cos(angle)), s = static_cast<double>(std::sin(angle));
                            const double size = std::abs(in[a]) + std::abs(in[b]);
                            // Angles are computed in double: at 2^17 radians they are off by at most 2^-34.
                            expect_near(out[a], in[a] * c - in[b] * s, size, 4);
                            expect_near(out[b], in[a] * s + in[b] * c, size, 4);
                        }
                        for (std::uint32_t i = n_rot; i < head_dim; ++i) ASSERT_EQ(out[i], in[i]);
                    }
            }
}

}  // namespace
}  // namespace tern::test
