#include "graph/cut.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>

namespace tern::graph {
namespace {

// For each operation the one value that is made before it and used by it or later; none where there are more or fewer, or
// where its rows are not the batch's.
std::vector<Value> handed_on(const Graph& graph) {
    const std::vector<Op>& ops = graph.ops();
    const std::size_t n = ops.size();
    std::vector<std::size_t> last(graph.values().size(), 0);
    for (std::size_t i = 0; i < n; ++i)
        for (const Value v : ops[i].in)
            if (v) last[static_cast<std::size_t>(v.id)] = i;
    if (graph.logits()) last[static_cast<std::size_t>(graph.logits().id)] = n;
    std::vector<Value> one(n);
    std::vector<std::size_t> alive;  // operations whose values are still used
    for (std::size_t i = 0; i < n; ++i) {
        std::erase_if(alive, [&](std::size_t made) { return last[static_cast<std::size_t>(ops[made].out.id)] < i; });
        if (alive.size() == 1 && ops[alive[0]].kind != OpKind::route && graph.info(ops[alive[0]].out).per_row == 1)
            one[i] = ops[alive[0]].out;
        if (last[static_cast<std::size_t>(ops[i].out.id)] > i) alive.push_back(i);
    }
    return one;
}

}  // namespace

std::vector<std::size_t> layer_begins(const Graph& graph) {
    const std::vector<Value> one = handed_on(graph);
    std::vector<std::size_t> begins;
    std::size_t candidate = kNoCut;
    for (std::size_t i = 0; i < one.size(); ++i) {
        if (one[i]) candidate = i;
        if (graph.ops()[i].kind != OpKind::attention) continue;
        begins.push_back(candidate);
        candidate = kNoCut;
    }
    return begins;
}

std::vector<Graph> cut(const Graph& graph, std::span<const std::size_t> at) {
    const std::vector<Value> one = handed_on(graph);
    const std::vector<Op>& ops = graph.ops();
    std::vector<Graph> parts;
    std::size_t begin = 0;
    for (std::size_t p = 0; p <= at.size(); ++p) {
        const std::size_t end = p < at.size() ? at[p] : ops.size();
        if (end <= begin || end > ops.size() || (end < ops.size() && !one[end]))
            throw Error(ErrorCode::internal, fmt::format("graph: cannot be cut before operation {} of {}", end, ops.size()));
        Graph& part = parts.emplace_back();
        std::vector<Value> values(graph.values().size());
        std::vector<std::int32_t> ropes(graph.ropes().size(), -1);
        const auto rope = [&](std::uint32_t old) {
            if (ropes[old] < 0) ropes[old] = static_cast<std::int32_t>(part.add_rope(graph.ropes()[old]));
            return static_cast<std::uint32_t>(ropes[old]);
        };
        if (begin > 0) {
            const Value v = one[begin];
            values[static_cast<std::size_t>(v.id)] = part.input(graph.info(v).cols, graph.info(v).domain);
        }
        for (std::size_t i = begin; i < end; ++i) {
            Op op = ops[i];
            const Value out = op.out;
            for (Value& v : op.in)
                if (v) v = values[static_cast<std::size_t>(v.id)];
            if (op.kind == OpKind::rope) op.rope = rope(op.rope);
            if (op.kind == OpKind::attention) {
                KvLayer layer = graph.kv_layers()[op.layer];
                if (layer.rope >= 0) layer.rope = static_cast<std::int32_t>(rope(static_cast<std::uint32_t>(layer.rope)));
                op.layer = static_cast<std::uint32_t>(part.kv_layers_.size());
                part.kv_layers_.push_back(layer);
            }
            values[static_cast<std::size_t>(out.id)] = part.push(std::move(op), graph.info(out));
        }
        part.max_positions_ = begin == 0 ? graph.max_positions() : 0;
        const Value result = values[static_cast<std::size_t>((end < ops.size() ? one[end] : graph.logits()).id)];
        if (!result || (begin > 0 && part.ops()[0].out == result))
            throw Error(ErrorCode::internal, fmt::format("graph: nothing comes of the part before operation {}", end));
        part.set_result(result);
        begin = end;
    }
    return parts;
}

}  // namespace tern::graph
