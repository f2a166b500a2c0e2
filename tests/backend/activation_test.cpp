// activate, gated, softcap.
#include <algorithm>
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

// Every 4093th bit pattern, and the numbers around the limits of the definitions.
Matrix dense_sample(std::uint32_t rows) {
    Matrix x(rows, (1u << 20) / rows + 64, 1);
    std::uint32_t bits = 0;
    for (float& v : x.data) {
        std::memcpy(&v, &bits, sizeof v);
        bits += 4093;
    }
    const float limits[] = {-104.0f, 0x1.62e43p+6f, -0x1.62e43p+6f, 0.625f,    1.0f, 4.0f,
                            7.0f,    -7.0f,         INFINITY,       -INFINITY, NAN,  -0.0f};
    std::size_t i = 0;
    for (const float limit : limits)
        for (const float other : {-INFINITY, limit, INFINITY}) x.data[i++] = std::nextafterf(limit, other);
    return x;
}

// The CPU's sets have this in tests/kernels/elementwise_test.cpp.
TEST(Activate, ADenseSampleOfAllNumbersOnDevices) {
    constexpr std::uint32_t n = 16;
    const Matrix x = dense_sample(n);
    Matrix up = x;
    std::shuffle(up.data.begin(), up.data.end(), std::mt19937(2));
    for (const Activation kind : kKinds) {
        graph::Graph g;
        g.set_logits(g.take_outputs(g.activate(kind, g.embed(x.weight()))));
        conform_on_devices(g, {{{n}}});
    }
    for (const Activation kind : {Activation::silu, Activation::clamped_silu}) {
        graph::Graph g;
        g.set_logits(g.take_outputs(g.gated(kind, g.embed(x.weight()), g.embed(up.weight()))));
        conform_on_devices(g, {{{n}}});
    }
    for (const float cap : {30.0f, 1.0f}) {
        graph::Graph g;
        g.set_logits(g.take_outputs(g.softcap(g.embed(x.weight()), cap)));
        conform_on_devices(g, {{{n}}});
    }
}

}  // namespace
}  // namespace tern::test
