#pragma once

#include <tern/model.h>

#include <optional>

#include "base/aligned_buffer.h"
#include "base/budget.h"
#include "graph/graph.h"

namespace tern {

struct Model::Impl {
    explicit Impl(Runtime r) : runtime(std::move(r)) {}
    Runtime runtime;
    base::Share budget;              // of the weights; after `runtime`, which keeps the budget
    std::optional<gguf::File> file;  // keeps metadata and mapped weights
    base::AlignedBuffer memory;      // weights of a random model
    ModelInfo info;
    graph::Graph graph;
    std::optional<Tokenizer> tokenizer;
};

namespace models {

// A hash of what the model computes: its operations with their numbers, and of each weight its name, format, shape and
// 4 KiB each from its beginning, middle and end. Not of the vocabulary. Two models of one identity give the same KV cache;
// `context` is the longest one of the program, which the angles of some models depend on.
std::uint64_t identity(const Model::Impl& model, std::uint32_t context) noexcept;

// What a model of random weights consists of: the bytes of a GGUF file without tensors, and its tensors in file order.
struct RandomPlan {
    struct Tensor {
        std::string name;
        DType dtype;
        std::uint64_t shape[3];  // as GGUF has it: the row length first
        bool ones;               // all elements are 1, as a norm's weights are before training
        std::uint64_t bytes() const { return row_bytes(dtype, shape[0]) * shape[1] * shape[2]; }
    };
    std::vector<std::byte> header;
    std::vector<Tensor> tensors;
};
// Error(invalid_argument) lists the shapes, or the mixtures.
RandomPlan plan_random(const RandomModel& spec);

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
