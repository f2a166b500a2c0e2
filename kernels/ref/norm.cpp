#include "kernels/ref/ref.h"
#include "kernels/ref/scalar.h"

namespace tern::kernels::ref {

void rms_norm(const float* x, const float* w, float* y, std::size_t n, float eps) {
    float stripes[kStripes] = {};
    for (std::size_t i = 0; i < n; ++i) stripes[i % kStripes] = std::fma(x[i], x[i], stripes[i % kStripes]);
    const float mean = tree(stripes) / static_cast<float>(n);
    const float inverse = 1.0f / std::sqrt(mean + eps);
    for (std::size_t i = 0; i < n; ++i) y[i] = w ? x[i] * inverse * w[i] : x[i] * inverse;
}

void layer_norm(const float* x, const float* w, const float* b, float* y, std::size_t n, float eps) {
    float stripes[kStripes] = {};
    for (std::size_t i = 0; i < n; ++i) stripes[i % kStripes] += x[i];
    const float mean = tree(stripes) / static_cast<float>(n);
    float squares[kStripes] = {};
    for (std::size_t i = 0; i < n; ++i) {
        const float centred = x[i] - mean;
        squares[i % kStripes] = std::fma(centred, centred, squares[i % kStripes]);
    }
    const float variance = tree(squares) / static_cast<float>(n);
    const float inverse = 1.0f / std::sqrt(variance + eps);
    for (std::size_t i = 0; i < n; ++i) {
        const float normal = (x[i] - mean) * inverse;
        const float weight = w ? w[i] : 1.0f;
        y[i] = b ? std::fma(normal, weight, b[i]) : normal * weight;
    }
}

}  // namespace tern::kernels::ref
