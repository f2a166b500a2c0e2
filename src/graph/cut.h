// A graph in consecutive parts, for devices that hold some layers each.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace tern::graph {

inline constexpr std::size_t kNoCut = ~std::size_t{0};

// For each KV layer the index of the operation with which its layer begins: the last one up to its attention before which
// exactly one value is handed on (the residual stream). kNoCut where there is none after the attention of the layer before.
std::vector<std::size_t> layer_begins(const Graph& graph);

// The operations in order, a new part before each index of `at` (ascending). Every part but the first begins with an
// `input`, whose rows are the result of the part before. Values, rope tables and KV layers are numbered anew in each part.
// Error(internal) for an index before which not exactly one value is handed on.
std::vector<Graph> cut(const Graph& graph, std::span<const std::size_t> at);

}  // namespace tern::graph
