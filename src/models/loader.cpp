#include "models/loader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tern/error.h>

#include <limits>

#include "gguf/cursor.h"

namespace tern::models {
namespace {

// What a weight's elements need: the f32 of vectors and of the widest blocks (kernels/kernel.h).
constexpr std::uintptr_t kDataAlignment = alignof(float);

}  // namespace

Loader::Loader(const gguf::File& file, std::span<const gguf::Tensor> tensors)
    : file_(file), architecture_(file.get("general.architecture").as_string()), tensors_(tensors),
      used_(tensors.size(), false) {
    for (std::size_t i = 0; i < tensors.size(); ++i) index_.emplace(tensors[i].name, i);
}

void Loader::fail(const std::string& message) const {
    throw Error(ErrorCode::bad_file, fmt::format("{}: {}", file_.name(), message));
}

std::string Loader::key(std::string_view name) const { return fmt::format("{}.{}", architecture_, name); }

bool Loader::has(std::string_view name) const { return file_.find(key(name)) != nullptr; }

std::uint32_t Loader::u32(std::string_view name, std::uint32_t min, std::uint32_t max) const {
    const std::string full = key(name);
    const gguf::Value& value = file_.get(full);
    std::uint64_t n = 0;
    if (value.type() == gguf::ValueType::array) {
        // Some files give one value per layer; as long as they agree they mean the same.
        const std::vector<std::int64_t> all = value.as_integers();
        if (all.empty()) fail(fmt::format("key '{}' is an empty array", full));
        for (const std::int64_t each : all)
            if (each != all.front())
                fail(fmt::format("key '{}' differs between layers, which '{}' does not support", full, architecture_));
        if (all.front() < 0) fail(fmt::format("key '{}' holds {}; it must be between {} and {}", full, all.front(), min, max));
        n = static_cast<std::uint64_t>(all.front());
    } else {
        n = value.as_u64();
    }
    if (n < min || n > max)
        fail(fmt::format("key '{}' is {}; it must be between {} and {}", full, n, min, max));
    return static_cast<std::uint32_t>(n);
}

std::uint32_t Loader::u32_or(std::string_view name, std::uint32_t fallback, std::uint32_t min, std::uint32_t max) const {
    return has(name) ? u32(name, min, max) : fallback;
}

float Loader::f32(std::string_view name, float min, float max) const {
    const std::string full = key(name);
    const double value = file_.get(full).as_float();
    if (!(value >= static_cast<double>(min) && value <= static_cast<double>(max)))
        fail(fmt::format("key '{}' is {}; it must be between {} and {}", full, value, min, max));
    return static_cast<float>(value);
}

float Loader::f32_or(std::string_view name, float fallback, float min, float max) const {
    return has(name) ? f32(name, min, max) : fallback;
}

std::string Loader::string_or(std::string_view name, std::string_view fallback) const {
    return file_.string_or(key(name), fallback);
}

bool Loader::bool_or(std::string_view name, bool fallback) const {
    return has(name) ? file_.get(key(name)).as_bool() : fallback;
}

std::vector<bool> Loader::flags_or_period(std::string_view name, std::uint32_t period, std::uint32_t n) const {
    const gguf::Value* value = file_.find(key(name));
    if (value && value->type() == gguf::ValueType::array) {
        std::vector<bool> flags = value->as_bools();
        if (flags.size() < n) fail(fmt::format("key '{}' has {} elements for {} layers", key(name), flags.size(), n));
        flags.resize(n);
        return flags;
    }
    if (value) period = u32(name, 1, 1u << 20);
    std::vector<bool> flags(n);
    for (std::uint32_t i = 0; i < n; ++i) flags[i] = i % period + 1 < period;
    return flags;
}

bool Loader::has_tensor(const std::string& name) const { return index_.contains(name); }

const gguf::Tensor* Loader::find(const std::string& name) {
    const auto it = index_.find(name);
    if (it == index_.end()) return nullptr;
    used_[it->second] = true;
    return &tensors_[it->second];
}

graph::Weight Loader::checked(const gguf::Tensor& t, std::span<const std::uint64_t> shape) {
    bool same = true;
    for (std::size_t i = 0; i < gguf::kMaxRank; ++i) same &= t.shape[i] == (i < shape.size() ? shape[i] : 1);
    if (!same)
        fail(fmt::format("tensor '{}' has the shape [{}]; the model's parameters ask for [{}]", t.name,
                         fmt::join(std::span(t.shape, t.rank), ", "), fmt::join(shape, ", ")));
    if (!t.data) fail(fmt::format("tensor '{}' has no data in this file", t.name));
    if (reinterpret_cast<std::uintptr_t>(t.data) % kDataAlignment != 0)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("{}: the data of tensor '{}' is not aligned in memory; let the bytes of the file begin at "
                                "a multiple of {}",
                                file_.name(), t.name, file_.alignment()));
    return {.data = t.data,
            .dtype = t.dtype,
            .cols = t.shape[0],
            .rows = t.shape[1],
            .slabs = t.shape[2],
            .name = std::string(t.name)};
}

graph::Weight Loader::matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols) {
    graph::Weight w = optional_matrix(name, rows, cols);
    if (!w) fail(fmt::format("tensor '{}' is missing", name));
    return w;
}

graph::Weight Loader::optional_matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols) {
    const gguf::Tensor* t = find(name);
    const std::uint64_t shape[] = {cols, rows};
    return t ? checked(*t, shape) : graph::Weight{};
}

graph::Weight Loader::experts(const std::string& name, std::uint64_t slabs, std::uint64_t rows, std::uint64_t cols) {
    const gguf::Tensor* t = find(name);
    if (!t) fail(fmt::format("tensor '{}' is missing", name));
    const std::uint64_t shape[] = {cols, rows, slabs};
    return checked(*t, shape);
}

graph::Weight Loader::vector(const std::string& name, std::uint64_t n) {
    graph::Weight w = optional_vector(name, n);
    if (!w) fail(fmt::format("tensor '{}' is missing", name));
    return w;
}

graph::Weight Loader::f32_matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols) {
    graph::Weight w = matrix(name, rows, cols);
    if (w.dtype != DType::F32) fail(fmt::format("tensor '{}' is {}; it must be F32", name, to_string(w.dtype)));
    return w;
}

graph::Weight Loader::optional_vector(const std::string& name, std::uint64_t n) {
    const gguf::Tensor* t = find(name);
    if (!t) return {};
    const std::uint64_t shape[] = {n};
    graph::Weight w = checked(*t, shape);
    if (w.dtype != DType::F32)
        fail(fmt::format("tensor '{}' is {}; vectors must be F32", name, to_string(w.dtype)));
    return w;
}

graph::Weight Loader::table(const std::string& name, std::uint64_t cols) {
    const gguf::Tensor* t = find(name);
    if (!t) fail(fmt::format("tensor '{}' is missing", name));
    const std::uint64_t shape[] = {cols, t->shape[1]};
    constexpr std::uint64_t kMaxRows = std::numeric_limits<std::int32_t>::max();  // TokenId
    if (t->shape[1] > kMaxRows)
        fail(fmt::format("tensor '{}' has {} rows, the limit is {}", name, t->shape[1], kMaxRows));
    return checked(*t, shape);
}

void Loader::check_all_used() const {
    std::vector<std::string> extra;
    for (std::size_t i = 0; i < tensors_.size(); ++i)
        if (!used_[i]) extra.push_back(gguf::escaped(tensors_[i].name));
    if (extra.empty()) return;
    const std::size_t shown = std::min<std::size_t>(extra.size(), 4);
    fail(fmt::format("architecture '{}' has no use for {} tensor{}: {}{}", architecture_, extra.size(),
                     extra.size() == 1 ? "" : "s", fmt::join(extra.begin(), extra.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     extra.size() > shown ? ", …" : ""));
}

}  // namespace tern::models
