#include "kernels/ref/ref.h"
#include "kernels/ref/scalar.h"

namespace tern::kernels::ref {
namespace {

float activation(Activation kind, float x) {
    switch (kind) {
        case Activation::silu:
        case Activation::clamped_silu: return x / (1.0f + ref::exp(-x));
        case Activation::gelu: return x / (1.0f + ref::exp(x * std::fma(x * x, kGeluCubic, kGeluLinear)));
        case Activation::gelu_erf: return x * 0.5f * (1.0f + ref::erf(x * 0x1.6a09e6p-1f));
        case Activation::relu_squared: {
            const float positive = 0.0f > x ? 0.0f : x;
            return positive * positive;
        }
        case Activation::sigmoid: return 1.0f / (1.0f + ref::exp(-x));
    }
    return x;
}

}  // namespace

void add(const float* a, const float* b, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

void mul(const float* a, const float* b, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

void scale(const float* a, float s, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = a[i] * s;
}

void add_scaled(const float* a, float s, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = std::fma(a[i], s, out[i]);
}

void softcap(const float* a, float cap, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = cap * ref::tanh(a[i] / cap);
}

void activate(Activation kind, const float* x, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) out[i] = activation(kind, x[i]);
}

void gated(Activation kind, const float* gate, const float* up, float* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
        if (kind == Activation::clamped_silu) {
            const float g = 7.0f < gate[i] ? 7.0f : gate[i];
            const float u = -7.0f > up[i] ? -7.0f : 7.0f < up[i] ? 7.0f : up[i];
            out[i] = g / (1.0f + ref::exp(g * -1.702f)) * (u + 1.0f);
        } else {
            out[i] = activation(kind, gate[i]) * up[i];
        }
    }
}

void softmax(const float* x, float* p, std::size_t n) {
    float m = -kInfinity;
    for (std::size_t i = 0; i < n; ++i) m = max_plus_zero(m, x[i]);
    float stripes[kStripes] = {};
    for (std::size_t i = 0; i < n; ++i) {
        p[i] = ref::exp(x[i] - m);
        stripes[i % kStripes] += p[i];
    }
    const float sum = tree(stripes);
    for (std::size_t i = 0; i < n; ++i) p[i] /= sum;
}

void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t n_rot, const float* cos, const float* sin,
          RopeMode mode) {
    const std::size_t half = n_rot / 2;
    const std::size_t step = mode == RopeMode::adjacent ? 2 : 1;
    const std::size_t partner = mode == RopeMode::adjacent ? 1 : half;
    for (std::size_t h = 0; h < heads; ++h, x += head_dim)
        for (std::size_t i = 0; i < half; ++i) {
            const float x0 = x[i * step];
            const float x1 = x[i * step + partner];
            x[i * step] = std::fma(x0, cos[i], -(x1 * sin[i]));
            x[i * step + partner] = std::fma(x0, sin[i], x1 * cos[i]);
        }
}

}  // namespace tern::kernels::ref
