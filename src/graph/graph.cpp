#include "graph/graph.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace tern::graph {
namespace {

void check(bool ok, OpKind kind, const char* what) {
    if (!ok) throw Error(ErrorCode::internal, fmt::format("graph: {}: {}", to_string(kind), what));
}

bool same_shape(const ValueInfo& a, const ValueInfo& b) {
    return a.cols == b.cols && a.domain == b.domain && a.per_row == b.per_row;
}

}  // namespace

const char* to_string(OpKind kind) noexcept {
    switch (kind) {
        case OpKind::embed: return "embed";
        case OpKind::rms_norm: return "rms_norm";
        case OpKind::linear: return "linear";
        case OpKind::add: return "add";
        case OpKind::mul: return "mul";
        case OpKind::scale: return "scale";
        case OpKind::silu_mul: return "silu_mul";
        case OpKind::rope: return "rope";
        case OpKind::attention: return "attention";
        case OpKind::take_outputs: return "take_outputs";
        case OpKind::route: return "route";
        case OpKind::gather_experts: return "gather_experts";
        case OpKind::linear_experts: return "linear_experts";
        case OpKind::combine_experts: return "combine_experts";
    }
    return "?";
}

Value Graph::push(Op op, ValueInfo out) {
    op.out = Value{static_cast<std::int32_t>(values_.size())};
    values_.push_back(out);
    ops_.push_back(std::move(op));
    return ops_.back().out;
}

Value Graph::embed(Weight table) {
    Op op{.kind = OpKind::embed};
    const ValueInfo out{.cols = table.cols};
    op.weight = std::move(table);
    return push(std::move(op), out);
}

Value Graph::rms_norm(Value x, Weight w, float eps) {
    check(!w || (w.cols == info(x).cols && w.dtype == DType::F32), OpKind::rms_norm, "weight is not F32 of the width");
    Op op{.kind = OpKind::rms_norm, .in = {x}};
    op.weight = std::move(w);
    op.factor = eps;
    return push(std::move(op), info(x));
}

Value Graph::linear(Value x, Weight w, Weight bias) {
    check(w.cols == info(x).cols && w.slabs == 1, OpKind::linear, "weight does not fit the input");
    check(!bias || (bias.cols == w.rows && bias.dtype == DType::F32), OpKind::linear, "bias does not fit");
    Op op{.kind = OpKind::linear, .in = {x}};
    ValueInfo out = info(x);
    out.cols = w.rows;
    op.weight = std::move(w);
    op.bias = std::move(bias);
    return push(std::move(op), out);
}

Value Graph::add(Value a, Value b) {
    check(same_shape(info(a), info(b)), OpKind::add, "shapes differ");
    return push({.kind = OpKind::add, .in = {a, b}}, info(a));
}

Value Graph::mul(Value a, Value b) {
    check(same_shape(info(a), info(b)), OpKind::mul, "shapes differ");
    return push({.kind = OpKind::mul, .in = {a, b}}, info(a));
}

Value Graph::scale(Value x, float factor) {
    Op op{.kind = OpKind::scale, .in = {x}};
    op.factor = factor;
    return push(std::move(op), info(x));
}

Value Graph::silu_mul(Value gate, Value up) {
    check(same_shape(info(gate), info(up)), OpKind::silu_mul, "shapes differ");
    return push({.kind = OpKind::silu_mul, .in = {gate, up}}, info(gate));
}

std::uint32_t Graph::add_rope(Rope rope) {
    ropes_.push_back(std::move(rope));
    return static_cast<std::uint32_t>(ropes_.size() - 1);
}

Value Graph::rope(Value x, std::uint32_t heads, std::uint32_t rope) {
    const ValueInfo in = info(x);
    check(rope < ropes_.size() && heads > 0 && in.cols % heads == 0 && in.domain == Domain::tokens, OpKind::rope,
          "bad heads or angles");
    check(ropes_[rope].inv_freq.size() * 2 <= in.cols / heads, OpKind::rope, "more angles than dimensions");
    Op op{.kind = OpKind::rope, .in = {x}};
    op.heads = heads;
    op.rope = rope;
    return push(std::move(op), in);
}

Value Graph::attention(Value q, Value k, Value v, const Heads& h, float scale, const Visibility& visibility,
                       float softcap) {
    check(h.kv > 0 && h.q % h.kv == 0, OpKind::attention, "query heads are no multiple of the KV heads");
    check(info(q).cols == std::uint64_t{h.q} * h.k_dim && info(k).cols == std::uint64_t{h.kv} * h.k_dim &&
              info(v).cols == std::uint64_t{h.kv} * h.v_dim,
          OpKind::attention, "widths do not fit the heads");
    check(info(q).domain == Domain::tokens && info(k).domain == Domain::tokens && info(v).domain == Domain::tokens,
          OpKind::attention, "needs every token");
    Op op{.kind = OpKind::attention, .in = {q, k, v}};
    op.attention = h;
    op.factor = scale;
    op.softcap = softcap;
    op.visibility = visibility;
    op.layer = static_cast<std::uint32_t>(kv_layers_.size());
    std::int32_t rope = -1;
    for (const Op& made : ops_)
        if (made.out == k && made.kind == OpKind::rope) rope = static_cast<std::int32_t>(made.rope);
    kv_layers_.push_back({h.kv, h.k_dim, h.v_dim, visibility.window, rope});
    ValueInfo out = info(q);
    out.cols = std::uint64_t{h.q} * h.v_dim;
    return push(std::move(op), out);
}

Value Graph::take_outputs(Value x) {
    check(info(x).domain == Domain::tokens, OpKind::take_outputs, "taken already");
    ValueInfo out = info(x);
    out.domain = Domain::outputs;
    return push({.kind = OpKind::take_outputs, .in = {x}}, out);
}

Value Graph::route(Value logits, std::uint32_t used, bool normalise) {
    const ValueInfo in = info(logits);
    check(used > 0 && used <= in.cols && in.per_row == 1, OpKind::route, "bad number of experts");
    Op op{.kind = OpKind::route, .in = {logits}};
    op.experts = static_cast<std::uint32_t>(in.cols);
    op.used = used;
    op.normalise = normalise;
    // Room for any backend's grouping: four words a slot (expert, weight, place in the group order, row), the group
    // borders (experts + 1 words) and the rows' probabilities.
    return push(std::move(op), {.cols = 6 + 2 * in.cols, .domain = in.domain, .per_row = used});
}

Value Graph::gather_experts(Value x, Value routing) {
    const ValueInfo in = info(x), r = info(routing);
    check(in.domain == r.domain && in.per_row == 1, OpKind::gather_experts, "routing of another domain");
    return push({.kind = OpKind::gather_experts, .in = {x, routing}},
                {.cols = in.cols, .domain = in.domain, .per_row = r.per_row});
}

Value Graph::linear_experts(Value x, Value routing, Weight w) {
    const ValueInfo in = info(x), r = info(routing);
    check(in.domain == r.domain && in.per_row == r.per_row && w.cols == in.cols, OpKind::linear_experts,
          "weight or routing does not fit");
    Op op{.kind = OpKind::linear_experts, .in = {x, routing}};
    ValueInfo out = in;
    out.cols = w.rows;
    op.weight = std::move(w);
    return push(std::move(op), out);
}

Value Graph::combine_experts(Value x, Value routing) {
    const ValueInfo in = info(x), r = info(routing);
    check(in.domain == r.domain && in.per_row == r.per_row, OpKind::combine_experts, "routing does not fit");
    return push({.kind = OpKind::combine_experts, .in = {x, routing}}, {.cols = in.cols, .domain = in.domain});
}

void Graph::set_logits(Value x) {
    check(info(x).domain == Domain::outputs && info(x).per_row == 1, OpKind::linear, "logits must be per output");
    logits_ = x;
}

std::uint64_t value_bytes(const ValueInfo& info, std::uint64_t max_tokens, std::uint64_t max_outputs) {
    const std::uint64_t rows = (info.domain == Domain::tokens ? max_tokens : max_outputs) * info.per_row;
    return (rows * info.cols * sizeof(float) + 255) / 256 * 256;
}

Plan plan_buffers(const Graph& graph, const std::vector<PhaseRange>& phases, std::uint64_t max_tokens,
                  std::uint64_t max_outputs) {
    const std::size_t n = graph.values().size();
    constexpr std::size_t kForever = std::numeric_limits<std::size_t>::max();
    std::vector<std::size_t> born(n, 0), dies(n, 0);
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
        const Op& op = graph.ops()[i];
        born[static_cast<std::size_t>(op.out.id)] = phases[i].first;
        dies[static_cast<std::size_t>(op.out.id)] = phases[i].last;
        for (const Value v : op.in)
            if (v) dies[static_cast<std::size_t>(v.id)] = std::max(dies[static_cast<std::size_t>(v.id)], phases[i].last);
    }
    if (graph.logits()) dies[static_cast<std::size_t>(graph.logits().id)] = kForever;

    // Largest first, each at the lowest offset where no value alive at the same time lies.
    std::vector<std::size_t> order(n);
    for (std::size_t i = 0; i < n; ++i) order[i] = i;
    const auto bytes = [&](std::size_t v) { return value_bytes(graph.values()[v], max_tokens, max_outputs); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return bytes(a) > bytes(b); });
    Plan plan;
    plan.offset.assign(n, 0);
    std::vector<std::size_t> placed;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
    for (const std::size_t v : order) {
        taken.clear();
        for (const std::size_t other : placed)
            if (born[v] <= dies[other] && born[other] <= dies[v])
                taken.emplace_back(plan.offset[other], plan.offset[other] + bytes(other));
        std::sort(taken.begin(), taken.end());
        std::uint64_t at = 0;
        for (const auto& [begin, end] : taken) {
            if (at + bytes(v) <= begin) break;
            at = std::max(at, end);
        }
        plan.offset[v] = at;
        plan.bytes = std::max(plan.bytes, at + bytes(v));
        placed.push_back(v);
    }
    return plan;
}

}  // namespace tern::graph
