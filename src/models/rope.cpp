#include "models/rope.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>
#include <cmath>

#include "gguf/cursor.h"
#include "kernels/rope.h"

namespace tern::models {
namespace {

// Known models use 1 to 64. Scaling and a tensor of factors together keep the angle of any 32-bit position below 2^52,
// so that kernels::rope_table can count its quadrants.
constexpr float kMinFactor = 1e-3f;
constexpr float kMaxFactor = 1e6f;

std::vector<double> divided(const Loader& loader, std::vector<double> angles, const graph::Weight& factors) {
    for (std::size_t i = 0; factors && i < angles.size(); ++i) {
        const float f = factors.f32()[i];
        if (!(f >= kMinFactor && f <= kMaxFactor))
            loader.fail(fmt::format("tensor '{}' holds {} at {}; factors are between {} and {}", factors.name, f, i,
                                    kMinFactor, kMaxFactor));
        angles[i] /= static_cast<double>(f);
    }
    return angles;
}

// Peng et al., arXiv:2309.00071, section 3.2: dimensions that turn more than beta_fast times within the original context
// keep their angle, those that turn less than beta_slow times are interpolated, and between them a ramp over the
// dimensions mixes both.
void apply_yarn(const Loader& loader, std::uint32_t n_rot, double base, double factor, std::vector<double>& angles) {
    const double original = loader.u32_or("rope.scaling.original_context_length",
                                          loader.u32("context_length", 1, 1u << 30), 1, 1u << 30);
    const double fast = static_cast<double>(loader.f32_or("rope.scaling.yarn_beta_fast", 32.0f, 1e-3f, 1e6f));
    const double slow = static_cast<double>(loader.f32_or("rope.scaling.yarn_beta_slow", 1.0f, 1e-3f, 1e6f));
    // The pair that turns `beta` times in the original context.
    const auto pair = [&](double beta) {
        return n_rot * kernels::natural_log(original / (beta * 0x1.921fb54442d18p+2)) / (2 * kernels::natural_log(base));
    };
    const double low = std::max(0.0, std::floor(pair(fast))), high = std::min(n_rot - 1.0, std::ceil(pair(slow)));
    for (std::size_t i = 0; i < angles.size(); ++i) {
        const double ramp = std::clamp((static_cast<double>(i) - low) / std::max(0.001, high - low), 0.0, 1.0);
        angles[i] = angles[i] / factor * ramp + angles[i] * (1 - ramp);
    }
}

void refuse_other_than(const Loader& loader, const char* key, float usual) {
    if (loader.f32_or(key, usual, -1e6f, 1e6f) != usual)
        throw Error(ErrorCode::unsupported, fmt::format("{}: key '{}': this version of Tern knows {} only",
                                                        loader.file().name(), loader.key(key), usual));
}

}  // namespace

double yarn_magnitude(double factor, double m) {
    return factor <= 1 ? 1.0 : 1.0 + 0.1 * m * kernels::natural_log(factor);
}

graph::Rope make_rope(const Loader& loader, const RopeOptions& options) {
    graph::Rope rope;
    rope.mode = options.mode;
    rope.inv_freq.resize(options.n_rot / 2);
    const double base = static_cast<double>(loader.f32_or(options.base_key, 10000.0f, 1.0f, 1e12f));
    kernels::rope_inv_freq(base, options.n_rot, rope.inv_freq.data());
    if (!options.scaled) return rope;

    const float given = loader.f32_or("rope.scale_linear", 1.0f, kMinFactor, kMaxFactor);
    const double factor = static_cast<double>(loader.f32_or("rope.scaling.factor", given, kMinFactor, kMaxFactor));
    const std::string type = loader.string_or("rope.scaling.type", "linear");
    double magnitude = static_cast<double>(loader.f32_or("rope.scaling.attn_factor", 1.0f, 1e-3f, 1e3f));
    if (type == "linear") {
        for (double& f : rope.inv_freq) f /= factor;
    } else if (type == "yarn") {
        if (!(base > 1)) loader.fail(fmt::format("key '{}' is 1, which yarn cannot scale", loader.key(options.base_key)));
        refuse_other_than(loader, "rope.scaling.yarn_ext_factor", 1.0f);
        refuse_other_than(loader, "rope.scaling.yarn_attn_factor", 1.0f);
        if (!options.magnitude) refuse_other_than(loader, "rope.scaling.yarn_log_multiplier", 0.0f);
        apply_yarn(loader, options.n_rot, base, factor, rope.inv_freq);
        magnitude *= options.magnitude.value_or(yarn_magnitude(factor, 1));
    } else if (type != "none" && !(type == "longrope" && options.factors && options.long_factors)) {
        throw Error(ErrorCode::unsupported,
                    fmt::format("{}: key '{}': the scaling {} is not known to this version of Tern for '{}'; known: none, "
                                "linear, yarn, and longrope with its tensors rope_factors_short and rope_factors_long",
                                loader.file().name(), loader.key("rope.scaling.type"), gguf::quoted(type),
                                loader.architecture()));
    }
    rope.factor = static_cast<float>(magnitude);
    if (options.long_factors) {
        if (!options.factors) loader.fail("tensor 'rope_factors_long.weight' is there without 'rope_factors_short.weight'");
        rope.long_inv_freq = divided(loader, rope.inv_freq, options.long_factors);
        rope.short_context = loader.u32_or("rope.scaling.original_context_length",
                                           loader.u32("context_length", 1, 1u << 30), 1, 1u << 30);
    } else if (options.factors && options.factors.name == "rope_factors_short.weight") {
        loader.fail("tensor 'rope_factors_short.weight' is there without 'rope_factors_long.weight'");
    }
    rope.inv_freq = divided(loader, rope.inv_freq, options.factors);
    return rope;
}

}  // namespace tern::models
