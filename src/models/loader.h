// Checked access to a model file's hyperparameters and tensors while an architecture is being defined.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tern/gguf.h>

#include "graph/graph.h"

namespace tern::models {

// Every failure is an Error that names the file and the key or tensor: bad_file, or invalid_argument where the caller's
// bytes are not aligned.
class Loader {
public:
    // `tensors` need not be the file's own (random models have theirs in memory). All must outlive the loader.
    Loader(const gguf::File& file, std::span<const gguf::Tensor> tensors);

    const std::string& architecture() const noexcept { return architecture_; }
    const gguf::File& file() const noexcept { return file_; }

    // Keys below the architecture's name: u32("block_count", 1, 1000) reads "llama.block_count".
    std::uint32_t u32(std::string_view key, std::uint32_t min, std::uint32_t max) const;
    std::uint32_t u32_or(std::string_view key, std::uint32_t fallback, std::uint32_t min, std::uint32_t max) const;
    float f32(std::string_view key, float min, float max) const;
    float f32_or(std::string_view key, float fallback, float min, float max) const;
    std::string string_or(std::string_view key, std::string_view fallback) const;
    bool bool_or(std::string_view key, bool fallback) const;
    // Which of n layers slide: n bools, or a period p (the key's, else `period`) that leaves each p-th layer out.
    std::vector<bool> flags_or_period(std::string_view key, std::uint32_t period, std::uint32_t n) const;
    bool has(std::string_view key) const;
    std::string key(std::string_view name) const;  // in full, for messages

    // Tensors of exactly this shape (in the order of the mathematics: rows, then the contiguous cols).
    graph::Weight matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols);
    graph::Weight experts(const std::string& name, std::uint64_t slabs, std::uint64_t rows, std::uint64_t cols);
    graph::Weight vector(const std::string& name, std::uint64_t n);  // F32
    graph::Weight f32_matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols);
    bool has_tensor(const std::string& name) const;  // does not count as use
    // Empty when the file has no such tensor.
    graph::Weight optional_matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols);
    graph::Weight optional_vector(const std::string& name, std::uint64_t n);
    // A matrix of `cols` columns and any number of rows.
    graph::Weight table(const std::string& name, std::uint64_t cols);

    // A model with tensors that its definition never asked for would be computed wrongly: they are named.
    void check_all_used() const;
    [[noreturn]] void fail(const std::string& message) const;

    std::size_t tensor_count() const noexcept { return tensors_.size(); }

private:
    const gguf::Tensor* find(const std::string& name);
    graph::Weight checked(const gguf::Tensor& t, std::span<const std::uint64_t> shape);

    const gguf::File& file_;
    std::string architecture_;
    std::span<const gguf::Tensor> tensors_;
    std::map<std::string_view, std::size_t> index_;  // not hashed: a file could choose names that collide
    std::vector<bool> used_;
};

}  // namespace tern::models
