#include "models/rope.h"

#include <fmt/format.h>
#include <tern/error.h>

#include "gguf/cursor.h"

namespace tern::models {
namespace {

// Known models use 1 to 64. Scaling and a tensor of factors together keep the angle of any 32-bit position below 2^52,
// so that kernels::rope_table can count its quadrants.
constexpr float kMinFactor = 1e-3f;
constexpr float kMaxFactor = 1e6f;

}  // namespace

graph::Rope make_rope(const Loader& loader, std::uint32_t n_rot, kernels::RopeMode mode, const graph::Weight& factors) {
    graph::Rope rope;
    rope.mode = mode;
    rope.inv_freq.resize(n_rot / 2);
    const double base = static_cast<double>(loader.f32_or("rope.freq_base", 10000.0f, 1.0f, 1e12f));
    kernels::rope_inv_freq(base, n_rot, rope.inv_freq.data());

    const std::string type = loader.string_or("rope.scaling.type", loader.has("rope.scale_linear") ? "linear" : "none");
    if (type == "linear") {
        // Position interpolation: positions divided by the factor (Chen et al., arXiv:2306.15595).
        const float factor = loader.f32_or("rope.scaling.factor", loader.f32_or("rope.scale_linear", 1.0f, kMinFactor, kMaxFactor),
                                           kMinFactor, kMaxFactor);
        for (double& f : rope.inv_freq) f /= static_cast<double>(factor);
    } else if (type != "none") {
        throw Error(ErrorCode::unsupported,
                    fmt::format("{}: key '{}': the scaling {} is not known to this version of Tern for '{}'; known: none, "
                                "linear",
                                loader.file().name(), loader.key("rope.scaling.type"), gguf::quoted(type),
                                loader.architecture()));
    }
    if (factors)
        for (std::size_t i = 0; i < rope.inv_freq.size(); ++i) {
            const float f = factors.f32()[i];
            if (!(f >= kMinFactor && f <= kMaxFactor))
                loader.fail(fmt::format("tensor '{}' holds {} at {}; factors are between {} and {}", factors.name, f, i,
                                        kMinFactor, kMaxFactor));
            rope.inv_freq[i] /= static_cast<double>(f);
        }
    return rope;
}

}  // namespace tern::models
