// Rotary angles from a model file's rope keys.
#pragma once

#include "graph/graph.h"
#include "models/loader.h"

namespace tern::models {

// Reads rope.freq_base and rope.scaling.* (none and linear), and divides by `factors` (rope_freqs) where given.
// Error(unsupported) for other kinds of scaling.
graph::Rope make_rope(const Loader& loader, std::uint32_t n_rot, kernels::RopeMode mode, const graph::Weight& factors);

}  // namespace tern::models
