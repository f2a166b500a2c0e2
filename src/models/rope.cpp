#include "models/rope.h"

#include <fmt/format.h>
#include <tern/error.h>

namespace tern::models {

graph::Rope make_rope(const Loader& loader, std::uint32_t n_rot, kernels::RopeMode mode, const graph::Weight& factors) {
    graph::Rope rope;
    rope.mode = mode;
    rope.inv_freq.resize(n_rot / 2);
    const double base = static_cast<double>(loader.f32_or("rope.freq_base", 10000.0f, 1.0f, 1e12f));
    kernels::rope_inv_freq(base, n_rot, rope.inv_freq.data());

    const std::string type = loader.string_or("rope.scaling.type", loader.has("rope.scale_linear") ? "linear" : "none");
    if (type == "linear") {
        // Position interpolation: positions divided by the factor (Chen et al., arXiv:2306.15595).
        const float factor = loader.f32_or("rope.scaling.factor", loader.f32_or("rope.scale_linear", 1.0f, 1e-3f, 1e6f),
                                           1e-3f, 1e6f);
        for (double& f : rope.inv_freq) f /= static_cast<double>(factor);
    } else if (type != "none") {
        throw Error(ErrorCode::unsupported,
                    fmt::format("{}: rope scaling '{}' is not known to this version of Tern for '{}'; known: none, linear",
                                loader.file().name(), type, loader.architecture()));
    }
    if (factors)
        for (std::size_t i = 0; i < rope.inv_freq.size(); ++i) {
            const float f = factors.f32()[i];
            if (!(f > 0)) loader.fail(fmt::format("tensor '{}' holds {} at {}; factors are positive", factors.name, f, i));
            rope.inv_freq[i] /= static_cast<double>(f);
        }
    return rope;
}

}  // namespace tern::models
