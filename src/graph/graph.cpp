#include "graph/graph.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>
#include <limits>
#include <map>
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
        case OpKind::input: return "input";
        case OpKind::embed: return "embed";
        case OpKind::rms_norm: return "rms_norm";
        case OpKind::layer_norm: return "layer_norm";
        case OpKind::linear: return "linear";
        case OpKind::linear_heads: return "linear_heads";
        case OpKind::add: return "add";
        case OpKind::mul: return "mul";
        case OpKind::scale: return "scale";
        case OpKind::softcap: return "softcap";
        case OpKind::activate: return "activate";
        case OpKind::gated: return "gated";
        case OpKind::slice: return "slice";
        case OpKind::concat: return "concat";
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

Value Graph::input(std::uint64_t cols, Domain domain) {
    for (const Op& op : ops_) check(op.kind != OpKind::input, OpKind::input, "a second one");
    check(cols > 0, OpKind::input, "no columns");
    return push({.kind = OpKind::input}, {.cols = cols, .domain = domain});
}

Value Graph::embed(Weight table, Lookup lookup) {
    Op op{.kind = OpKind::embed};
    const ValueInfo out{.cols = table.cols};
    if (lookup == Lookup::position) max_positions_ = max_positions_ ? std::min(max_positions_, table.rows) : table.rows;
    op.weight = std::move(table);
    op.lookup = lookup;
    return push(std::move(op), out);
}

namespace {

Op norm(OpKind kind, Value x, const ValueInfo& in, Weight w, Weight bias, float eps, std::uint32_t groups) {
    check(groups > 0 && in.cols % groups == 0, kind, "the groups do not divide the width");
    check(!w || ((w.cols == in.cols || w.cols == in.cols / groups) && w.dtype == DType::F32), kind,
          "weight is not F32 of the width");
    check(!bias || (bias.cols == w.cols && bias.dtype == DType::F32), kind, "bias is not F32 as long as the weight");
    Op op{.kind = kind, .in = {x}};
    op.weight = std::move(w);
    op.bias = std::move(bias);
    op.factor = eps;
    op.groups = groups;
    return op;
}

}  // namespace

Value Graph::rms_norm(Value x, Weight w, float eps, std::uint32_t groups) {
    return push(norm(OpKind::rms_norm, x, info(x), std::move(w), {}, eps, groups), info(x));
}

Value Graph::layer_norm(Value x, Weight w, Weight bias, float eps, std::uint32_t groups) {
    return push(norm(OpKind::layer_norm, x, info(x), std::move(w), std::move(bias), eps, groups), info(x));
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

Value Graph::linear_heads(Value x, Weight w) {
    check(w.cols * w.slabs == info(x).cols, OpKind::linear_heads, "weight does not fit the input");
    Op op{.kind = OpKind::linear_heads, .in = {x}};
    ValueInfo out = info(x);
    out.cols = w.rows * w.slabs;
    op.groups = static_cast<std::uint32_t>(w.slabs);
    op.weight = std::move(w);
    return push(std::move(op), out);
}

Value Graph::add(Value a, Value b) {
    check(same_shape(info(a), info(b)), OpKind::add, "shapes differ");
    return push({.kind = OpKind::add, .in = {a, b}}, info(a));
}

Value Graph::mul(Value a, Value b) {
    ValueInfo b_info = info(b);
    if (b_info.cols == 1) b_info.cols = info(a).cols;
    check(same_shape(info(a), b_info), OpKind::mul, "shapes differ");
    return push({.kind = OpKind::mul, .in = {a, b}}, info(a));
}

Value Graph::scale(Value x, float factor) {
    Op op{.kind = OpKind::scale, .in = {x}};
    op.factor = factor;
    return push(std::move(op), info(x));
}

Value Graph::softcap(Value x, float cap) {
    check(cap > 0, OpKind::softcap, "the cap is not above 0");
    Op op{.kind = OpKind::softcap, .in = {x}};
    op.softcap = cap;
    return push(std::move(op), info(x));
}

Value Graph::activate(Activation kind, Value x) {
    check(kind != Activation::clamped_silu, OpKind::activate, "clamped_silu needs a second input");
    Op op{.kind = OpKind::activate, .in = {x}};
    op.activation = kind;
    return push(std::move(op), info(x));
}

Value Graph::gated(Activation kind, Value gate, Value up) {
    check(same_shape(info(gate), info(up)), OpKind::gated, "shapes differ");
    Op op{.kind = OpKind::gated, .in = {gate, up}};
    op.activation = kind;
    return push(std::move(op), info(gate));
}

Value Graph::slice(Value x, std::uint32_t first, std::uint32_t count, std::uint32_t groups) {
    ValueInfo out = info(x);
    check(groups > 0 && out.cols % groups == 0 && count > 0 && std::uint64_t{first} + count <= out.cols / groups,
          OpKind::slice, "outside the row");
    Op op{.kind = OpKind::slice, .in = {x}};
    op.first = first;
    op.groups = groups;
    out.cols = std::uint64_t{count} * groups;
    return push(std::move(op), out);
}

Value Graph::concat(Value a, Value b, std::uint32_t groups) {
    ValueInfo out = info(a);
    check(groups > 0 && out.cols % groups == 0 && info(b).cols % groups == 0 && out.domain == info(b).domain &&
              out.per_row == info(b).per_row,
          OpKind::concat, "shapes do not fit");
    Op op{.kind = OpKind::concat, .in = {a, b}};
    op.groups = groups;
    out.cols += info(b).cols;
    return push(std::move(op), out);
}

std::uint32_t Graph::add_rope(Rope rope) {
    check(rope.long_inv_freq.empty() || rope.long_inv_freq.size() == rope.inv_freq.size(), OpKind::rope,
          "as many long angles as short ones");
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

Value Graph::attention(Value q, Value k, Value v, const Heads& h, const AttentionOptions& options) {
    check(h.kv > 0 && h.q % h.kv == 0, OpKind::attention, "query heads are no multiple of the KV heads");
    check(info(q).cols == std::uint64_t{h.q} * h.k_dim && info(k).cols == std::uint64_t{h.kv} * h.k_dim &&
              info(v).cols == std::uint64_t{h.kv} * h.v_dim,
          OpKind::attention, "widths do not fit the heads");
    check(info(q).domain == Domain::tokens && info(k).domain == Domain::tokens && info(v).domain == Domain::tokens,
          OpKind::attention, "needs every token");
    check(!options.sinks || (options.sinks.cols == h.q && options.sinks.dtype == DType::F32), OpKind::attention,
          "sinks are not F32, one per query head");
    check(options.slopes.empty() || options.slopes.size() == h.q, OpKind::attention, "not one slope per query head");
    Op op{.kind = OpKind::attention, .in = {q, k, v}};
    op.weight = options.sinks;
    op.attention = h;
    op.factor = options.scale;
    op.softcap = options.softcap;
    op.visibility = options.visibility;
    op.slopes = options.slopes;
    op.layer = static_cast<std::uint32_t>(kv_layers_.size());
    std::int32_t rope = -1;
    for (const Op& made : ops_)
        if (made.out == k && made.kind == OpKind::rope && ropes_[made.rope].long_inv_freq.empty())
            rope = static_cast<std::int32_t>(made.rope);
    const bool causal = options.visibility.causal;
    kv_layers_.push_back({h.kv, h.k_dim, h.v_dim, causal ? options.visibility.window : 0, rope, causal});
    ValueInfo out = info(q);
    out.cols = std::uint64_t{h.q} * h.v_dim;
    return push(std::move(op), out);
}

Graph Graph::before_logits() const {
    Graph cut = *this;
    // What follows the product works on the logits by themselves: a scale, a soft cap.
    while (!cut.ops_.empty()) {
        const Op last = cut.ops_.back();
        cut.ops_.pop_back();
        cut.values_.pop_back();
        check(last.out == cut.logits_, last.kind, "is the last operation and does not make the logits");
        cut.logits_ = last.in[0];
        if (last.kind == OpKind::linear) break;
    }
    return cut;
}

bool Graph::causal() const noexcept {
    return std::all_of(kv_layers_.begin(), kv_layers_.end(), [](const KvLayer& layer) { return layer.causal; });
}

Value Graph::take_outputs(Value x) {
    check(info(x).domain == Domain::tokens, OpKind::take_outputs, "taken already");
    ValueInfo out = info(x);
    out.domain = Domain::outputs;
    return push({.kind = OpKind::take_outputs, .in = {x}}, out);
}

Value Graph::route(Value logits, const Routing& routing) {
    const ValueInfo in = info(logits);
    check(routing.used > 0 && routing.used <= in.cols && in.per_row == 1, OpKind::route, "bad number of experts");
    check(routing.groups > 0 && in.cols % routing.groups == 0 && routing.groups_used > 0 &&
              routing.groups_used <= routing.groups &&
              routing.used <= in.cols / routing.groups * routing.groups_used,
          OpKind::route, "bad groups");
    check(!routing.bias || (routing.bias.cols == in.cols && routing.bias.dtype == DType::F32), OpKind::route,
          "bias is not F32, one per expert");
    Op op{.kind = OpKind::route, .in = {logits}};
    op.experts = static_cast<std::uint32_t>(in.cols);
    op.used = routing.used;
    op.score = routing.score;
    op.normalise = routing.normalise;
    op.factor = routing.scale;
    op.bias = routing.bias;
    op.groups = routing.groups;
    op.groups_used = routing.groups_used;
    // Room for any backend's grouping: four words a slot (expert, weight, place in the group order, row), the group
    // borders (experts + 1 words), and the rows' scores without and with the bias.
    return push(std::move(op), {.cols = 6 + 3 * in.cols, .domain = in.domain, .per_row = routing.used});
}

Value Graph::gather_experts(Value x, Value routing) {
    const ValueInfo in = info(x), r = info(routing);
    check(in.domain == r.domain && in.per_row == 1, OpKind::gather_experts, "routing of another domain");
    return push({.kind = OpKind::gather_experts, .in = {x, routing}},
                {.cols = in.cols, .domain = in.domain, .per_row = r.per_row});
}

Value Graph::linear_experts(Value x, Value routing, Weight w, Weight bias) {
    const ValueInfo in = info(x), r = info(routing);
    check(!bias || (bias.cols == w.rows && bias.rows == w.slabs && bias.dtype == DType::F32), OpKind::linear_experts,
          "bias does not fit");
    check(in.domain == r.domain && in.per_row == r.per_row && w.cols == in.cols, OpKind::linear_experts,
          "weight or routing does not fit");
    Op op{.kind = OpKind::linear_experts, .in = {x, routing}};
    ValueInfo out = in;
    out.cols = w.rows;
    op.weight = std::move(w);
    op.bias = std::move(bias);
    return push(std::move(op), out);
}

Value Graph::combine_experts(Value x, Value routing) {
    const ValueInfo in = info(x), r = info(routing);
    check(in.domain == r.domain && in.per_row == r.per_row, OpKind::combine_experts, "routing does not fit");
    return push({.kind = OpKind::combine_experts, .in = {x, routing}}, {.cols = in.cols, .domain = in.domain});
}

void Graph::set_logits(Value x) {
    check(info(x).domain == Domain::outputs, OpKind::linear, "logits must be per output");
    set_result(x);
}

void Graph::set_result(Value x) {
    check(info(x).per_row == 1, OpKind::linear, "a result has one row for each row of its domain");
    logits_ = x;
}

std::uint64_t weight_bytes(const Graph& graph) {
    std::map<const void*, std::uint64_t> all;  // a part of a tensor does not begin where another does
    for (const Op& op : graph.ops())
        for (const Weight* w : {&op.weight, &op.bias})
            if (*w) all[w->data] = std::max(all[w->data], w->bytes());
    std::uint64_t sum = 0;
    for (const auto& [data, bytes] : all) sum += bytes;
    return sum;
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
