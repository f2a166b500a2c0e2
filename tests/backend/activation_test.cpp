// activate, gated, softcap.
#include <cmath>

#include "conformance.h"

namespace tern::test {
namespace {

using graph::Activation;

constexpr std::uint64_t kWidths[] = {1, 7, 64, 300, 5120};

double exact(Activation kind, double x) {
    switch (kind) {
        case Activation::silu: return x / (1 + std::exp(-x));
        // (1 + tanh(y)) / 2, without its cancellation.
        case Activation::gelu: return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        case Activation::gelu_erf: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
        case Activation::relu_squared: return x > 0 ? x * x : 0;
        case Activation::sigmoid: return 1 / (1 + std::exp(-x));
        case Activation::clamped_silu: break;
    }
    return 0;
}

// What rounding may add up to, in units of 2^-24. exp multiplies the roundings of its argument by the argument, of which
// gelu has four (two constants, two products); erf is off by two units of 1, whatever the result.
double bound(Activation kind, double x, double y) {
    const double size = std::abs(y);
    switch (kind) {
        // Where exp overflows, the result is 0 instead of less than |x| * 2^-128.
        case Activation::gelu: return size * (8 + 6 * std::abs(x * (1.6 + 0.072 * x * x))) + std::abs(x) * 0x1p-104;
        case Activation::gelu_erf: return size * 4 + std::abs(x) * 3;
        default: return size * 6;
    }
}

constexpr Activation kKinds[] = {Activation::silu, Activation::gelu, Activation::gelu_erf, Activation::relu_squared,
                                 Activation::sigmoid};

TEST(Activate, AgreesWithTheDefinition) {
    for (const Activation kind : kKinds)
        for (const std::uint64_t width : kWidths)
            for (const std::uint32_t n : {1u, 2u, 9u}) {
                const Matrix x(n, width, 1, 3.0f);
                graph::Graph g;
                g.set_logits(g.take_outputs(g.activate(kind, g.embed(x.weight()))));
                const std::vector<float> got = conform(g, {{{n}}});
                for (std::size_t i = 0; i < got.size(); ++i) {
                    const double in = x.data[i], want = exact(kind, in);
                    expect_near(got[i], want, bound(kind, in, want), 1);
                }
            }
}

TEST(Gated, AgreesWithTheDefinition) {
    for (const Activation kind : kKinds)
        for (const std::uint64_t width : kWidths)
            for (const std::uint32_t n : {1u, 2u, 9u}) {
                const Matrix gate(n, width, 1, 3.0f), up(n, width, 2, 3.0f);
                graph::Graph g;
                g.set_logits(g.take_outputs(g.gated(kind, g.embed(gate.weight()), g.embed(up.weight()))));
                const std::vector<float> got = conform(g, {{{n}}});
                for (std::size_t i = 0; i < got.size(); ++i) {
                    const double in = gate.data[i], y = exact(kind, in), want = y * up.data[i];
                    expect_near(got[i], want, bound(kind, in, y) * std::abs(up.data[i]) + std::abs(want), 1);
                }
            }
}

TEST(Gated, ClampedSilu) {
    for (const std::uint64_t width : kWidths) {
        const Matrix gate(5, width, 1, 6.0f), up(5, width, 2, 6.0f);  // a good part beyond the limits
        graph::Graph g;
        g.set_logits(g.take_outputs(g.gated(Activation::clamped_silu, g.embed(gate.weight()), g.embed(up.weight()))));
        const std::vector<float> got = conform(g, {{{5}}});
        for (std::size_t i = 0; i < got.size(); ++i) {
            const double in = std::min(gate.data[i], 7.0f), u = std::min(std::max(up.data[i], -7.0f), 7.0f);
            const double want = in / (1 + std::exp(-1.702 * in)) * (u + 1);
            expect_near(got[i], want, std::abs(want), 8 + 3 * std::abs(in));
        }
    }
}

TEST(Softcap, AgreesWithTheDefinition) {
    for (const std::uint64_t width : kWidths) {
        const Matrix x(3, width, 1, 40.0f);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.softcap(g.embed(x.weight()), 30.0f)));
        const std::vector<float> got = conform(g, {{{3}}});
        for (std::size_t i = 0; i < got.size(); ++i) {
            const double want = 30 * std::tanh(x.data[i] / 30.0);
            expect_near(got[i], want, std::abs(want), 8);  // tanh within 4, its argument and the product rounded
        }
    }
}

}  // namespace
}  // namespace tern::test
