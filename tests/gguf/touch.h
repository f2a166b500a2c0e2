// Uses everything an open file offers, so that a bad length or pointer shows under a sanitizer; and compares
// files.
#pragma once

#include <tern/error.h>
#include <tern/gguf.h>

#include <cstring>
#include <string>

namespace tern::test {

// A number that depends on all that was read.
inline std::uint64_t touch(const gguf::File& file) {
    std::uint64_t sum = file.version() + file.alignment() + file.total_bytes() + file.splits();
    const auto attempt = [&](auto read) {
        try {
            sum += static_cast<std::uint64_t>(read());
        } catch (const Error& e) {
            sum += static_cast<unsigned char>(e.what()[0]);
        }
    };
    for (const gguf::Value& v : file.metadata()) {
        if (file.find(v.key()) != &v) throw std::logic_error("a key does not find its own entry");
        attempt([&] { return v.as_u64(); });
        attempt([&] { return v.as_i64(); });
        attempt([&] { return v.as_u32(); });
        attempt([&] { return v.as_float() > 0; });
        attempt([&] { return v.as_bool(); });
        attempt([&] { return v.as_string().size(); });
        attempt([&] {
            std::uint64_t n = 0;
            for (const std::string_view text : v.as_strings())
                for (const char c : text) n += static_cast<unsigned char>(c);
            return n;
        });
        attempt([&] { return v.as_floats().size(); });
        attempt([&] { return v.as_integers().size(); });
        attempt([&] { return v.as_bools().size(); });
        attempt([&] { return v.to_text().size(); });
    }
    for (const gguf::Tensor& t : file.tensors()) {
        if (file.find_tensor(t.name) != &t) throw std::logic_error("a name does not find its own tensor");
        if (t.bytes != row_bytes(t.dtype, t.shape[0]) * t.rows()) throw std::logic_error("sizes disagree");
        sum += t.elements();
        if (t.data)
            sum += std::to_integer<unsigned>(t.data[0]) + std::to_integer<unsigned>(t.data[t.bytes - 1]);
    }
    return sum;
}

inline gguf::Writer rewritten(const gguf::File& file) {
    gguf::Writer writer(file.alignment());
    for (const gguf::Value& v : file.metadata()) writer.add(v);
    for (const gguf::Tensor& t : file.tensors())
        writer.add_tensor(t.name, t.dtype, {t.shape, t.rank}, {t.data, t.bytes});
    return writer;
}

// What differs first, or nothing.
inline std::string difference(const gguf::File& a, const gguf::File& b) {
    if (a.metadata().size() != b.metadata().size()) return "number of keys";
    if (a.tensors().size() != b.tensors().size()) return "number of tensors";
    if (a.alignment() != b.alignment()) return "alignment";
    for (std::size_t i = 0; i < a.metadata().size(); ++i) {
        const gguf::Value& x = a.metadata()[i];
        const gguf::Value& y = b.metadata()[i];
        if (x.key() != y.key() || x.type() != y.type() || x.element_type() != y.element_type() ||
            x.size() != y.size() || x.to_text(x.size()) != y.to_text(y.size()))
            return "key " + std::string(x.key());
    }
    for (std::size_t i = 0; i < a.tensors().size(); ++i) {
        const gguf::Tensor& x = a.tensors()[i];
        const gguf::Tensor& y = b.tensors()[i];
        if (x.name != y.name || x.dtype != y.dtype || x.rank != y.rank || x.bytes != y.bytes ||
            !std::equal(x.shape, x.shape + gguf::kMaxRank, y.shape) ||
            std::memcmp(x.data, y.data, x.bytes) != 0)
            return "tensor " + std::string(x.name);
    }
    return {};
}

}  // namespace tern::test
