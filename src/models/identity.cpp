#include <cstring>

#include "base/hash.h"
#include "models/model_impl.h"

namespace tern::models {
namespace {

class Identity {
public:
    void bytes(std::span<const std::byte> data) noexcept { value_ = base::hash(data, value_); }
    template <class T>
    void number(const T& x) noexcept {
        static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
        bytes(std::as_bytes(std::span(&x, 1)));
    }
    void weight(const graph::Weight& w) noexcept {
        number(w.dtype);
        number(w.cols);
        number(w.rows);
        number(w.slabs);
        bytes(std::as_bytes(std::span(w.name)));
        if (!w) return;
        constexpr std::size_t kSample = 4096;
        const auto* data = static_cast<const std::byte*>(w.data);
        const std::size_t all = w.bytes(), n = std::min(all, kSample);
        for (const std::size_t at : {std::size_t{0}, (all - n) / 2, all - n}) bytes({data + at, n});
    }
    std::uint64_t value() const noexcept { return value_; }

private:
    std::uint64_t value_ = 0;
};

}  // namespace

std::uint64_t identity(const Model::Impl& model) noexcept {
    Identity id;
    for (const graph::Op& op : model.graph.ops()) {
        id.number(op.kind);
        for (const graph::Value v : op.in) id.number(v.id);
        id.number(op.out.id);
        id.weight(op.weight);
        id.weight(op.bias);
        id.number(op.factor);
        id.number(op.softcap);
        id.number(op.layer);
        id.number(op.rope);
        id.number(op.heads);
        for (const std::uint32_t n :
             {op.attention.q, op.attention.kv, op.attention.k_dim, op.attention.v_dim, op.visibility.window, op.experts,
              op.used, op.groups, op.groups_used, op.first})
            id.number(n);
        id.number(op.visibility.causal);
        id.bytes(std::as_bytes(std::span(op.slopes)));
        id.number(op.normalise);
        id.number(op.score);
        id.number(op.lookup);
        id.number(op.activation);
    }
    for (const graph::Rope& rope : model.graph.ropes()) {
        id.bytes(std::as_bytes(std::span(rope.inv_freq)));
        id.bytes(std::as_bytes(std::span(rope.long_inv_freq)));
        id.number(rope.short_context);
        id.number(rope.factor);
        id.number(rope.mode);
    }
    return id.value();
}

}  // namespace tern::models
