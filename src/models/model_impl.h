#pragma once

#include <tern/model.h>

#include <optional>

#include "base/aligned_buffer.h"
#include "graph/graph.h"

namespace tern {

struct Model::Impl {
    explicit Impl(Runtime r) : runtime(std::move(r)) {}
    Runtime runtime;
    std::optional<gguf::File> file;  // keeps metadata and mapped weights
    base::AlignedBuffer memory;      // weights of a random model
    ModelInfo info;
    graph::Graph graph;
    std::optional<Tokenizer> tokenizer;
};

namespace models {

// Weights of a known shape in memory, and a file of metadata only.
struct RandomWeights {
    gguf::File file;
    std::vector<std::string> names;
    std::vector<gguf::Tensor> tensors;
    base::AlignedBuffer memory;
};
RandomWeights make_random(const RandomModel& spec);

}  // namespace models
}  // namespace tern
