// Copies of model files with one thing changed.
#pragma once

#include <tern/gguf.h>

#include <functional>
#include <string>
#include <vector>

namespace tern::test {

// A copy of a model file with changes.
struct Change {
    std::string drop_tensor, drop_key, reshape, extra;
    std::function<void(gguf::Writer&)> add;  // replaces drop_key
};

inline std::vector<std::byte> changed(const gguf::File& file, const Change& change) {
    gguf::Writer out(file.alignment());
    for (const gguf::Value& v : file.metadata())
        if (v.key() != change.drop_key && v.key() != "general.alignment") out.add(v);
    if (change.add) change.add(out);
    for (const gguf::Tensor& t : file.tensors()) {
        if (t.name == change.drop_tensor) continue;
        std::vector<std::uint64_t> shape(t.shape, t.shape + t.rank);
        std::size_t bytes = t.bytes;
        if (t.name == change.reshape) {
            shape.back() -= 1;
            bytes = bytes / (shape.back() + 1) * shape.back();
        }
        out.add_tensor(t.name, t.dtype, shape, {t.data, bytes});
    }
    if (!change.extra.empty()) {
        const auto& t = file.tensors().front();
        out.add_tensor(change.extra, t.dtype, std::span(t.shape, t.rank), {t.data, t.bytes});
    }
    return out.to_bytes();
}

}  // namespace tern::test
