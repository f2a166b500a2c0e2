// Rotary angles from a model file's rope keys.
#pragma once

#include <optional>

#include "graph/graph.h"
#include "models/loader.h"

namespace tern::models {

struct RopeOptions {
    std::uint32_t n_rot = 0;
    kernels::RopeMode mode = kernels::RopeMode::adjacent;
    // What the angles are divided by (rope_freqs of Llama 3, the short factors of LongRoPE); empty: by nothing.
    graph::Weight factors{};
    // LongRoPE: the same for contexts beyond rope.scaling.original_context_length.
    graph::Weight long_factors{};
    const char* base_key = "rope.freq_base";  // 10,000 where the file has none
    bool scaled = true;                       // false: rope.scaling.* is for other layers
    // YaRN's multiplier of cosine and sine where the architecture has a rule of its own.
    std::optional<double> magnitude{};
};
// Reads the base and rope.scaling.*: none, linear (arXiv:2306.15595), yarn (arXiv:2309.00071), longrope (arXiv:2402.13753).
// Llama 3's scaling is the tensor of factors. Error(unsupported) for other kinds.
graph::Rope make_rope(const Loader& loader, const RopeOptions& options);

// 1 + 0.1 m ln(factor), YaRN's growth of attention with the factor of its context.
double yarn_magnitude(double factor, double m);

}  // namespace tern::models
