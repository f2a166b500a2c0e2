#include "backend/cpu/program.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "backend/cpu/kv.h"
#include "kernels/formats/format.h"

namespace tern::backend::cpu {
namespace {

using graph::Domain;
using graph::Op;
using graph::OpKind;
using graph::Value;
using graph::ValueInfo;
using kernels::ActBlock;
using kernels::ActKind;

// Query tokens of one attention task: enough rows to amortise the conversion of a page, few enough for the cache.
constexpr std::size_t kQueryBlock = 32;
// Tokens of a batch up to which the chunks of attention may be shared between workers. More tokens are enough work by
// themselves, and each needs memory for the results of all its chunks.
constexpr std::size_t kSplitTokens = 4;
// Bytes of weights in one piece of work when a few tokens make the product memory-bound: long enough to stream.
constexpr std::size_t kStreamBytes = std::size_t{128} * 1024;
// From this many tokens on a product is bound by arithmetic, and a piece of work is one row tile.
constexpr std::size_t kPanelTokens = 32;
// Rows shorter than this are not worth sharing between workers when there is only one row.
constexpr std::size_t kSplitColumns = 4096;
constexpr std::size_t kColumnGrain = 256;  // a quantisation block is never split

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
constexpr std::size_t act_blocks(std::size_t k) { return (k + 255) / 256; }

// Index order in which linears of one input stand together.
std::vector<std::size_t> order_ops(const graph::Graph& graph) {
    const std::vector<Op>& ops = graph.ops();
    std::vector<std::size_t> order;
    std::vector<bool> done(ops.size(), false);
    for (std::size_t i = 0; i < ops.size(); ++i) {
        if (done[i]) continue;
        order.push_back(i);
        if (ops[i].kind != OpKind::linear) continue;
        for (std::size_t j = i + 1; j < ops.size(); ++j)
            if (!done[j] && ops[j].kind == OpKind::linear && ops[j].in[0] == ops[i].in[0] &&
                kernels::act_kind(ops[j].weight.dtype) == kernels::act_kind(ops[i].weight.dtype)) {
                done[j] = true;
                order.push_back(j);
            }
    }
    return order;
}

}  // namespace

struct CpuProgram::Work {
    const Batch& batch;
    const CpuKv& kv;
    std::size_t tokens;
    std::size_t outputs;
};

CpuProgram::CpuProgram(const graph::Graph& graph, const Limits& limits, const kernels::KernelSet& kernels,
                       const DenseProduct* dense, base::ThreadPool& pool)
    : CpuProgram(graph, limits, kernels, dense, pool, SizesOnly{}) {
    compile();
    arena_ = base::AlignedBuffer(plan_.bytes, "intermediate results; a smaller batch needs less");
    acts_ = base::AlignedBuffer(sizes_.acts, "quantised activations; a smaller batch needs less");
    angles_ = base::AlignedBuffer(sizes_.angles, "rotation angles; a smaller batch needs less");
    scratch_ = base::AlignedBuffer(scratch_stride_ * pool_.size(), "kernel scratch; fewer threads need less");
    partials_ = base::AlignedBuffer(sizes_.partials, "results of attention; a shorter context needs less");
    counters_ = std::make_unique<Counter[]>(steps_.size() * pool_.size());
    positions_.reserve(limits_.max_tokens);
}

std::uint64_t CpuProgram::scratch_bytes(const graph::Graph& graph, const Limits& limits, const kernels::KernelSet& kernels,
                                        const DenseProduct* dense, base::ThreadPool& pool) {
    CpuProgram program(graph, limits, kernels, dense, pool, SizesOnly{});
    program.compile();
    return program.plan_.bytes + program.sizes_.acts + program.sizes_.angles + program.sizes_.partials +
           program.scratch_stride_ * pool.size();
}

void CpuProgram::compile() {
    const std::vector<Op>& ops = graph_.ops();
    producer_.assign(graph_.values().size(), nullptr);
    for (const Op& op : ops) producer_[static_cast<std::size_t>(op.out.id)] = &op;

    std::vector<graph::PhaseRange> phases(ops.size());
    std::size_t current_phase = 0;
    // Steps that work row by row need no barrier between them as long as the same worker has the same rows.
    struct Partition {
        bool rowwise = false;
        Domain domain = Domain::tokens;
        std::uint32_t per_row = 0;
        bool operator==(const Partition&) const = default;
    } partition;
    const auto add_step = [&](Step step, Partition next) {
        step.barrier = !steps_.empty() && (!next.rowwise || !(next == partition));
        if (step.barrier) ++current_phase;
        step.phase = current_phase;
        partition = next;
        steps_.push_back(std::move(step));
    };
    const auto rowwise = [&](Value v) {
        const ValueInfo& i = graph_.info(v);
        return Partition{true, i.domain, i.per_row};
    };
    constexpr Partition kWide{};

    std::size_t max_act_bytes = 0, max_matmul_scratch = 0;
    const auto rows_of = [&](const ValueInfo& i) {
        return std::size_t{i.domain == Domain::tokens ? limits_.max_tokens : limits_.max_outputs} * i.per_row;
    };
    Value quantised;  // what the activation buffer holds
    ActKind quantised_kind = ActKind::f32;
    std::uint32_t quantised_groups = 1;
    const auto need_act = [&](Value x, ActKind kind, std::uint32_t groups = 1) {
        if (kind == ActKind::f32 || (quantised == x && quantised_kind == kind && quantised_groups == groups)) return;
        Step step{.kind = StepKind::quantise, .op = &producer(x), .ops = {}};
        step.act = kind;
        step.groups = groups;
        step.split_columns = groups == 1 && graph_.info(x).cols >= kSplitColumns && !steps_.empty() &&
                             steps_.back().split_columns && steps_.back().op->out == x;
        add_step(std::move(step), rowwise(x));
        quantised = x;
        quantised_kind = kind;
        quantised_groups = groups;
        const ValueInfo& i = graph_.info(x);
        max_act_bytes = std::max(max_act_bytes, rows_of(i) * groups * act_blocks(i.cols / groups) * sizeof(ActBlock));
    };
    const auto need_scratch = [&](const Op& op) {
        const kernels::MatmulKernel& k = kernels_.table.matmul[static_cast<std::size_t>(op.weight.dtype)];
        if (k.scratch_bytes)
            max_matmul_scratch = std::max(max_matmul_scratch, k.scratch_bytes(op.weight.cols, rows_of(graph_.info(op.out))));
        if (dense_) max_matmul_scratch = std::max(max_matmul_scratch, dense_->scratch_bytes(op.weight));
    };

    std::size_t angle_floats = 0;
    for (const graph::Rope& rope : graph_.ropes()) {
        angle_offset_.push_back(angle_floats);
        angle_floats += std::size_t{limits_.max_tokens} * rope.inv_freq.size() * 2;
    }
    if (!graph_.ropes().empty())
        add_step({.kind = StepKind::rope_tables, .op = nullptr, .ops = {}}, {true, Domain::tokens, 1});

    const std::vector<std::size_t> order = order_ops(graph_);
    std::size_t attention_scratch = 0, partial_floats = 0;
    for (std::size_t n = 0; n < order.size(); ++n) {
        const Op& op = ops[order[n]];
        const std::size_t steps_before = steps_.size();
        const auto simple = [&](StepKind kind) {
            Step step{.kind = kind, .op = &op, .ops = {}};
            step.split_columns = (kind == StepKind::gated || kind == StepKind::activate) &&
                                 graph_.info(op.out).cols >= kSplitColumns;
            add_step(std::move(step), rowwise(op.out));
        };
        switch (op.kind) {
            case OpKind::input: simple(StepKind::input); break;
            case OpKind::embed: simple(StepKind::embed); break;
            case OpKind::rms_norm: simple(StepKind::rms_norm); break;
            case OpKind::layer_norm: simple(StepKind::layer_norm); break;
            case OpKind::add: simple(StepKind::add); break;
            case OpKind::mul: simple(StepKind::mul); break;
            case OpKind::scale: simple(StepKind::scale); break;
            case OpKind::softcap: simple(StepKind::softcap); break;
            case OpKind::activate: simple(StepKind::activate); break;
            case OpKind::gated: simple(StepKind::gated); break;
            case OpKind::slice: simple(StepKind::slice); break;
            case OpKind::concat: simple(StepKind::concat); break;
            case OpKind::rope: simple(StepKind::rope); break;
            case OpKind::attention: {
                add_step({.kind = StepKind::store_kv, .op = &op, .ops = {}}, rowwise(op.in[1]));
                add_step({.kind = StepKind::attention, .op = &op, .ops = {}}, kWide);
                const graph::Heads& h = op.attention;
                const std::size_t max_rows = std::min<std::size_t>(kQueryBlock, limits_.max_tokens) * (h.q / h.kv);
                const std::size_t floats = max_rows * (h.k_dim + 2 * h.v_dim + 8);
                const std::size_t pointers = limits_.max_context / kernels::kPageTokens + 1;
                const std::size_t chunks = limits_.max_context / kernels::kChunkTokens + 1;
                if (pool_.size() > 1 && chunks > 1)
                    partial_floats = std::max(partial_floats, std::min<std::size_t>(kSplitTokens, limits_.max_tokens) *
                                                                  h.q * chunks * (h.v_dim + 2));
                // It waits only if chunks are shared.
                steps_.push_back({.kind = StepKind::merge_attention, .op = &op, .ops = {}, .phase = current_phase});
                attention_scratch = std::max(
                    attention_scratch, round_up(kernels::attention_scratch_bytes(h.k_dim, h.v_dim), 64) +
                                           round_up(pointers * sizeof(void*), 64) + round_up(floats * sizeof(float), 64));
                break;
            }
            case OpKind::take_outputs: add_step({.kind = StepKind::take_outputs, .op = &op, .ops = {}}, kWide); break;
            case OpKind::route:
                add_step({.kind = StepKind::route, .op = &op, .ops = {}}, rowwise(op.in[0]));
                add_step({.kind = StepKind::group, .op = &op, .ops = {}}, kWide);
                break;
            case OpKind::gather_experts: simple(StepKind::gather); break;
            case OpKind::combine_experts: simple(StepKind::combine); break;
            case OpKind::linear: {
                Step step{.kind = StepKind::linear, .op = &op, .ops = {}};
                step.act = kernels::act_kind(op.weight.dtype);
                need_act(op.in[0], step.act);
                const std::size_t first = n;
                for (;; ++n) {
                    const Op& member = ops[order[n]];
                    step.ops.push_back(&member);
                    need_scratch(member);
                    if (n + 1 >= order.size() || ops[order[n + 1]].kind != OpKind::linear ||
                        !(ops[order[n + 1]].in[0] == op.in[0]) ||
                        kernels::act_kind(ops[order[n + 1]].weight.dtype) != step.act)
                        break;
                }
                add_step(std::move(step), kWide);
                for (std::size_t m = first; m <= n; ++m) phases[order[m]].first = current_phase;
                for (std::size_t m = first; m < n; ++m) phases[order[m]].last = current_phase;
                break;
            }
            case OpKind::linear_heads: {
                Step step{.kind = StepKind::linear_heads, .op = &op, .ops = {&op}};
                step.act = kernels::act_kind(op.weight.dtype);
                need_act(op.in[0], step.act, op.groups);
                need_scratch(op);
                add_step(std::move(step), kWide);
                break;
            }
            case OpKind::linear_experts: {
                Step step{.kind = StepKind::linear_experts, .op = &op, .ops = {&op}};
                step.act = kernels::act_kind(op.weight.dtype);
                need_act(op.in[0], step.act);
                need_scratch(op);
                add_step(std::move(step), kWide);
                break;
            }
        }
        phases[order[n]].last = current_phase;
        if (op.kind != OpKind::linear)
            phases[order[n]].first = steps_[steps_before].phase;
    }
    plan_ = graph::plan_buffers(graph_, phases, limits_.max_tokens, limits_.max_outputs);
    // Matrix products and attention never run at the same time in a worker.
    scratch_stride_ = round_up(std::max(max_matmul_scratch, attention_scratch), 4096) + 64;
    scratch_stride_ = round_up(scratch_stride_, 64);
    sizes_ = {max_act_bytes, angle_floats * sizeof(float), partial_floats * sizeof(float)};
}

std::uint64_t CpuProgram::scratch_bytes() const noexcept {
    return arena_.size() + acts_.size() + angles_.size() + scratch_.size() + partials_.size();
}

float* CpuProgram::value(Value v) const noexcept {
    return reinterpret_cast<float*>(arena_.data() + plan_.offset[static_cast<std::size_t>(v.id)]);
}

float* CpuProgram::row_of(Value v, std::size_t row) const noexcept {
    return value(v) + row * graph_.info(v).cols;
}

std::size_t CpuProgram::rows(const ValueInfo& info, const Work& work) const noexcept {
    return (info.domain == Domain::tokens ? work.tokens : work.outputs) * info.per_row;
}

std::span<const float> CpuProgram::run(const Batch& batch, KvMemory& kv) {
    Work work{batch, static_cast<const CpuKv&>(kv), batch.tokens.size(), batch.outputs.size()};
    positions_.clear();
    for (const Segment& segment : batch.segments)
        for (std::uint32_t i = 0; i < segment.count; ++i) positions_.push_back(segment.position + i);
    for (std::size_t i = 0; i < steps_.size() * pool_.size(); ++i)
        counters_[i].next.store(0, std::memory_order_relaxed);
    pool_.run([&](unsigned worker) {
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            // A step that shares the columns of a single row hands its row on to other workers.
            const bool shared_row = steps_[i].split_columns || (i > 0 && steps_[i - 1].split_columns);
            const bool merges = steps_[i].kind == StepKind::merge_attention && splits_chunks(*steps_[i].op, work);
            if (steps_[i].barrier || merges || (shared_row && !(steps_[i].kind == StepKind::quantise && steps_[i].split_columns)))
                pool_.barrier();
            execute(steps_[i], i, worker, work);
        }
    });
    const ValueInfo& result = graph_.info(graph_.logits());
    return {value(graph_.logits()), rows(result, work) * result.cols};
}

void CpuProgram::execute(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept {
    switch (step.kind) {
        case StepKind::linear: run_linear(step, index, worker, work); return;
        case StepKind::linear_heads: run_heads(step, index, worker, work); return;
        case StepKind::linear_experts: run_experts(step, index, worker, work); return;
        case StepKind::attention: run_attention(step, index, worker, work); return;
        case StepKind::merge_attention:
            if (splits_chunks(*step.op, work)) merge_attention(*step.op, worker, work);
            return;
        case StepKind::group:
            if (worker == 0) group(*step.op, work);
            return;
        default: run_rows(step, worker, work); return;
    }
}

void CpuProgram::run_rows(const Step& step, unsigned worker, Work& work) const noexcept {
    const std::size_t workers = pool_.size();
    ValueInfo info{.cols = 0};
    if (step.op) info = graph_.info(step.kind == StepKind::store_kv ? step.op->in[1] : step.op->out);
    if (step.kind == StepKind::route) info = graph_.info(step.op->in[0]);
    const std::size_t n = rows(info, work);
    if (n == 1 && step.split_columns) {
        const std::size_t grains = (info.cols + kColumnGrain - 1) / kColumnGrain;
        const std::size_t begin = grains * worker / workers * kColumnGrain;
        const std::size_t end = std::min<std::size_t>(info.cols, grains * (worker + 1) / workers * kColumnGrain);
        if (begin < end) run_row(step, 0, begin, end - begin, work);
        return;
    }
    const std::size_t end = n * (worker + 1) / workers;
    for (std::size_t row = n * worker / workers; row < end; ++row) run_row(step, row, 0, info.cols, work);
}

// Columns other than all are asked for only of activate, gated and quantise.
void CpuProgram::run_row(const Step& step, std::size_t row, std::size_t col, std::size_t cols,
                         Work& work) const noexcept {
    const kernels::KernelTable& k = kernels_.table;
    if (step.kind == StepKind::rope_tables) {
        for (std::size_t r = 0; r < graph_.ropes().size(); ++r) {
            const graph::Rope& rope = graph_.ropes()[r];
            const std::size_t half = rope.inv_freq.size();
            float* cos = angles_.as<float>() + angle_offset_[r] + row * half * 2;
            kernels::rope_table(rope.frequencies(limits_.max_context).data(), half, positions_[row], rope.factor, cos, cos + half);
        }
        return;
    }
    const Op& op = *step.op;
    switch (step.kind) {
        case StepKind::input:
            std::memcpy(row_of(op.out, row), work.batch.input.data() + row * cols, cols * sizeof(float));
            break;
        case StepKind::embed: {
            std::size_t at = 0;
            if (op.lookup == graph::Lookup::token) at = static_cast<std::size_t>(work.batch.tokens[row]);
            if (op.lookup == graph::Lookup::position) at = positions_[row];
            const auto* bytes = static_cast<const std::byte*>(op.weight.data) + at * op.weight.row_bytes();
            kernels::format_ops(op.weight.dtype).decode(bytes, row_of(op.out, row), op.weight.cols);
            break;
        }
        case StepKind::rms_norm:
        case StepKind::layer_norm: {
            const std::size_t n = cols / op.groups, own = op.weight && op.weight.cols == cols ? n : 0;
            for (std::size_t g = 0; g < op.groups; ++g) {
                const float *x = row_of(op.in[0], row) + g * n, *w = op.weight ? op.weight.f32() + g * own : nullptr;
                float* y = row_of(op.out, row) + g * n;
                if (step.kind == StepKind::rms_norm)
                    k.rms_norm(x, w, y, n, op.factor);
                else
                    k.layer_norm(x, w, op.bias ? op.bias.f32() + g * own : nullptr, y, n, op.factor);
            }
            break;
        }
        case StepKind::add: k.add(row_of(op.in[0], row), row_of(op.in[1], row), row_of(op.out, row), cols); break;
        case StepKind::mul:
            if (graph_.info(op.in[1]).cols == cols)
                k.mul(row_of(op.in[0], row), row_of(op.in[1], row), row_of(op.out, row), cols);
            else
                k.scale(row_of(op.in[0], row), *row_of(op.in[1], row), row_of(op.out, row), cols);
            break;
        case StepKind::scale: k.scale(row_of(op.in[0], row), op.factor, row_of(op.out, row), cols); break;
        case StepKind::softcap: k.softcap(row_of(op.in[0], row), op.softcap, row_of(op.out, row), cols); break;
        case StepKind::activate:
            k.activate(op.activation, row_of(op.in[0], row) + col, row_of(op.out, row) + col, cols);
            break;
        case StepKind::gated:
            k.gated(op.activation, row_of(op.in[0], row) + col, row_of(op.in[1], row) + col, row_of(op.out, row) + col,
                    cols);
            break;
        case StepKind::slice: {
            const std::size_t n = cols / op.groups, from = graph_.info(op.in[0]).cols / op.groups;
            for (std::size_t g = 0; g < op.groups; ++g)
                std::memcpy(row_of(op.out, row) + g * n, row_of(op.in[0], row) + g * from + op.first, n * sizeof(float));
            break;
        }
        case StepKind::concat: {
            const std::size_t a = graph_.info(op.in[0]).cols / op.groups, b = cols / op.groups - a;
            for (std::size_t g = 0; g < op.groups; ++g) {
                float* out = row_of(op.out, row) + g * (a + b);
                std::memcpy(out, row_of(op.in[0], row) + g * a, a * sizeof(float));
                std::memcpy(out + a, row_of(op.in[1], row) + g * b, b * sizeof(float));
            }
            break;
        }
        case StepKind::rope: {
            const graph::Rope& rope = graph_.ropes()[op.rope];
            const std::size_t half = rope.inv_freq.size();
            const float* cos = angles_.as<float>() + angle_offset_[op.rope] + row * half * 2;
            std::memcpy(row_of(op.out, row), row_of(op.in[0], row), cols * sizeof(float));
            k.rope(row_of(op.out, row), op.heads, cols / op.heads, half * 2, cos, cos + half, rope.mode);
            break;
        }
        case StepKind::store_kv: {
            const Segment* segment = work.batch.segments.data();
            while (row >= segment->first + segment->count) ++segment;
            const std::size_t position = positions_[row];
            const graph::Heads& h = op.attention;
            for (std::uint32_t head = 0; head < h.kv; ++head)
                k.kv_store(work.kv.block(segment->pages, position / kernels::kPageTokens, op.layer, head),
                           work.kv.type(), h.k_dim, h.v_dim, position % kernels::kPageTokens,
                           row_of(op.in[1], row) + std::size_t{head} * h.k_dim,
                           row_of(op.in[2], row) + std::size_t{head} * h.v_dim);
            break;
        }
        case StepKind::quantise: {
            const std::size_t stride = rows(graph_.info(op.out), work);
            const std::size_t n = cols / step.groups;
            for (std::size_t g = 0; g < step.groups; ++g) {
                ActBlock* out = acts_.as<ActBlock>() + (g * act_blocks(n) + col / 256) * stride + row;
                (step.act == ActKind::q8_256 ? k.quantize_q8_256 : k.quantize_q8_32)(row_of(op.out, row) + col + g * n, n,
                                                                                     out, stride);
            }
            break;
        }
        case StepKind::take_outputs:
            std::memcpy(row_of(op.out, row), row_of(op.in[0], work.batch.outputs[row]), cols * sizeof(float));
            break;
        case StepKind::route: choose_experts(op, row); break;
        case StepKind::gather: {
            const Routing r = routing(op.in[1], producer(op.in[1]));
            std::memcpy(row_of(op.out, row), row_of(op.in[0], r.row[row]), cols * sizeof(float));
            break;
        }
        case StepKind::combine: {
            const Op& route = producer(op.in[1]);
            const Routing r = routing(op.in[1], route);
            float* out = row_of(op.out, row);
            for (std::uint32_t rank = 0; rank < route.used; ++rank) {
                const std::size_t i = row * route.used + rank;
                const float* x = row_of(op.in[0], r.slot[i]);
                if (rank == 0)
                    k.scale(x, r.weight[i], out, cols);
                else
                    k.add_scaled(x, r.weight[i], out, cols);
            }
            break;
        }
        default: break;
    }
}

void CpuProgram::choose_experts(const Op& op, std::size_t row) const noexcept {
    const kernels::KernelTable& k = kernels_.table;
    const Routing r = routing(op.out, op);
    const float* x = row_of(op.in[0], row);
    float *s = r.score + row * 2 * op.experts, *choice = s;
    switch (op.score) {
        case graph::RouteScore::softmax: k.softmax(x, s, op.experts); break;
        case graph::RouteScore::sigmoid: k.activate(graph::Activation::sigmoid, x, s, op.experts); break;
        case graph::RouteScore::softmax_chosen: std::memcpy(s, x, op.experts * sizeof(float)); break;
    }
    if (op.bias || op.groups > 1) {
        choice = s + op.experts;
        if (op.bias)
            k.add(s, op.bias.f32(), choice, op.experts);
        else
            std::memcpy(choice, s, op.experts * sizeof(float));
    }
    // The largest of n that a list does not hold yet; the lower index of equal ones.
    const auto best_of = [](const float* of, std::uint32_t n, const std::uint32_t* listed, std::uint32_t count) {
        std::uint32_t best = n;
        for (std::uint32_t e = 0; e < n; ++e)
            if (std::find(listed, listed + count, e) == listed + count && (best == n || of[e] > of[best])) best = e;
        return best;
    };
    if (op.groups > 1) {
        const std::uint32_t n = op.experts / op.groups;
        const auto group_of = [&](std::uint32_t g) { return choice + std::size_t{g} * n; };
        const auto sum_of_two = [&](std::uint32_t g) {
            const float* of = group_of(g);
            const std::uint32_t first = best_of(of, n, nullptr, 0);
            return n > 1 ? of[first] + of[best_of(of, n, &first, 1)] : of[first];
        };
        // As many groups as do not take part, the worst first; of equal ones the one behind.
        for (std::uint32_t left = op.groups; left > op.groups_used; --left) {
            std::uint32_t worst = op.groups;
            float least = 0;
            for (std::uint32_t g = 0; g < op.groups; ++g) {
                if (*group_of(g) == -std::numeric_limits<float>::infinity()) continue;  // left out already
                const float sum = sum_of_two(g);
                if (worst == op.groups || !(sum > least)) worst = g, least = sum;
            }
            if (worst == op.groups) break;
            std::fill_n(group_of(worst), n, -std::numeric_limits<float>::infinity());
        }
    }
    std::uint32_t* chosen = r.expert + row * op.used;
    float* weight = r.weight + row * op.used;
    for (std::uint32_t rank = 0; rank < op.used; ++rank) {
        chosen[rank] = best_of(choice, op.experts, chosen, rank);
        weight[rank] = s[chosen[rank]];
    }
    if (op.score == graph::RouteScore::softmax_chosen) k.softmax(weight, weight, op.used);
    if (op.normalise) {
        float sum = 0;
        for (std::uint32_t rank = 0; rank < op.used; ++rank) sum += weight[rank];
        for (std::uint32_t rank = 0; rank < op.used; ++rank) weight[rank] /= sum + 1e-20f;
    }
    if (op.factor != 1.0f) k.scale(weight, op.factor, weight, op.used);
}

Routing CpuProgram::routing(Value v, const Op& route) const noexcept {
    auto* words = reinterpret_cast<std::uint32_t*>(value(v));
    const ValueInfo& info = graph_.info(v);
    const std::size_t slots =
        std::size_t{info.domain == Domain::tokens ? limits_.max_tokens : limits_.max_outputs} * route.used;
    return {words, reinterpret_cast<float*>(words + slots), words + 2 * slots, words + 3 * slots, words + 4 * slots,
            reinterpret_cast<float*>(words + 4 * slots + route.experts + 1)};
}

void CpuProgram::group(const Op& op, Work& work) const noexcept {
    const Routing r = routing(op.out, op);
    const std::size_t slots = rows(graph_.info(op.out), work);
    std::fill(r.begin, r.begin + op.experts + 1, 0u);
    for (std::size_t i = 0; i < slots; ++i) ++r.begin[r.expert[i] + 1];
    for (std::uint32_t e = 0; e < op.experts; ++e) r.begin[e + 1] += r.begin[e];
    // begin[e] walks to begin[e + 1] while slots are given out, and is set back afterwards.
    for (std::size_t i = 0; i < slots; ++i) {
        const std::uint32_t slot = r.begin[r.expert[i]]++;
        r.slot[i] = slot;
        r.row[slot] = static_cast<std::uint32_t>(i / op.used);
    }
    for (std::uint32_t e = op.experts; e > 0; --e) r.begin[e] = r.begin[e - 1];
    r.begin[0] = 0;
}

// `x` are the activations (null: only `act` will do), `act` what the kernel of the weight's format multiplies with.
void CpuProgram::multiply(const Op& op, std::size_t slab, std::size_t row, std::size_t row_count, const float* x,
                          const void* act, std::size_t act_stride, std::size_t tokens, float* out, std::size_t out_stride,
                          unsigned worker) const noexcept {
    const std::byte* w =
        static_cast<const std::byte*>(op.weight.data) + (slab * op.weight.rows + row) * op.weight.row_bytes();
    if (x && dense_ && dense_->piece_rows(op.weight, tokens, pool_.size()) != 0) {
        dense_->multiply({.weight = op.weight,
                          .w = w,
                          .rows = row_count,
                          .x = x,
                          .tokens = tokens,
                          .out = out + row,
                          .scratch = scratch(worker)});
    } else {
        const kernels::MatmulKernel& kernel = kernels_.table.matmul[static_cast<std::size_t>(op.weight.dtype)];
        kernel.run({.w = w,
                    .w_row_bytes = op.weight.row_bytes(),
                    .rows = row_count,
                    .k = op.weight.cols,
                    .act = act,
                    .act_stride = act_stride,
                    .tokens = tokens,
                    .out = out + row,
                    .out_stride = out_stride,
                    .scratch = scratch(worker)});
    }
    if (op.bias)
        for (std::size_t t = 0; t < tokens; ++t) {
            float* y = out + t * out_stride + row;
            kernels_.table.add(y, op.bias.f32() + slab * op.weight.rows + row, y, row_count);
        }
}

namespace {

// Pieces of work of all kinds of products: each worker streams through its own contiguous region, then helps others.
template <class Counters, class Body>
void share(Counters counters, std::size_t pieces, unsigned worker, unsigned workers, Body&& body) {
    for (unsigned turn = 0; turn < workers; ++turn) {
        const unsigned region = (worker + turn) % workers;
        const std::size_t begin = pieces * region / workers, end = pieces * (region + 1) / workers;
        for (;;) {
            const std::size_t piece = begin + counters(region).fetch_add(1, std::memory_order_relaxed);
            if (piece >= end) break;
            body(piece);
        }
    }
}

}  // namespace

std::size_t CpuProgram::piece_rows(const graph::Weight& w, std::size_t tokens) const noexcept {
    if (const std::size_t rows = dense_ ? dense_->piece_rows(w, tokens, pool_.size()) : 0) return rows;
    const std::size_t row_tile = kernels_.table.matmul[static_cast<std::size_t>(w.dtype)].row_tile;
    if (tokens >= kPanelTokens) return row_tile;
    return round_up(std::max<std::size_t>(1, kStreamBytes / w.row_bytes()), row_tile);
}

void CpuProgram::run_linear(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept {
    const std::size_t tokens = rows(graph_.info(step.op->in[0]), work);
    if (tokens == 0) return;
    const void* act = step.act == ActKind::f32 ? static_cast<const void*>(value(step.op->in[0])) : acts_.data();
    const std::size_t stride = step.act == ActKind::f32 ? graph_.info(step.op->in[0]).cols : tokens;
    const auto grain = [&](const Op& op) { return piece_rows(op.weight, tokens); };
    std::size_t pieces = 0;
    for (const Op* op : step.ops) pieces += (op->weight.rows + grain(*op) - 1) / grain(*op);
    share([&](unsigned region) -> auto& { return counters_[index * pool_.size() + region].next; }, pieces, worker,
          pool_.size(), [&](std::size_t piece) {
              for (const Op* op : step.ops) {
                  const std::size_t rows_each = grain(*op), own = (op->weight.rows + rows_each - 1) / rows_each;
                  if (piece < own) {
                      const std::size_t row = piece * rows_each;
                      multiply(*op, 0, row, std::min<std::size_t>(rows_each, op->weight.rows - row), value(op->in[0]),
                               act, stride, tokens, value(op->out), op->weight.rows, worker);
                      return;
                  }
                  piece -= own;
              }
          });
}

void CpuProgram::run_heads(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept {
    const Op& op = *step.op;
    const std::size_t tokens = rows(graph_.info(op.in[0]), work), cols = op.weight.cols, heads = op.weight.slabs;
    if (tokens == 0) return;
    const std::size_t grain = std::min<std::size_t>(piece_rows(op.weight, tokens), op.weight.rows);
    const std::size_t own = (op.weight.rows + grain - 1) / grain;
    share([&](unsigned region) -> auto& { return counters_[index * pool_.size() + region].next; }, own * heads, worker,
          pool_.size(), [&](std::size_t piece) {
              const std::size_t head = piece / own, row = piece % own * grain;
              const void* act = step.act == ActKind::f32
                                    ? static_cast<const void*>(value(op.in[0]) + head * cols)
                                    : acts_.as<ActBlock>() + head * act_blocks(cols) * tokens;
              multiply(op, head, row, std::min<std::size_t>(grain, op.weight.rows - row), nullptr, act,
                       step.act == ActKind::f32 ? cols * heads : tokens, tokens,
                       value(op.out) + head * op.weight.rows, op.weight.rows * heads, worker);
          });
}

void CpuProgram::run_experts(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept {
    const Op& op = *step.op;
    const Op& route = producer(op.in[1]);
    const Routing r = routing(op.in[1], route);
    const std::size_t slots = rows(graph_.info(op.in[0]), work);
    if (slots == 0) return;
    const std::size_t grain = piece_rows(op.weight, slots / route.experts);
    const std::size_t own = (op.weight.rows + grain - 1) / grain;
    const std::size_t cols = op.weight.cols;
    share([&](unsigned region) -> auto& { return counters_[index * pool_.size() + region].next; },
          own * route.experts, worker, pool_.size(), [&](std::size_t piece) {
              const std::size_t expert = piece / own, row = piece % own * grain;
              const std::size_t first = r.begin[expert], count = r.begin[expert + 1] - first;
              if (count == 0) return;
              const float* x = value(op.in[0]) + first * cols;
              const void* act = step.act == ActKind::f32 ? static_cast<const void*>(x) : acts_.as<ActBlock>() + first;
              multiply(op, expert, row, std::min<std::size_t>(grain, op.weight.rows - row), x, act,
                       step.act == ActKind::f32 ? cols : slots, count, value(op.out) + first * op.weight.rows,
                       op.weight.rows, worker);
          });
}

namespace {

// What a token at `position` sees first.
std::uint32_t first_visible(const Op& op, std::uint32_t position) {
    const std::uint32_t window = op.visibility.window;
    if (window == 0) return 0;
    const std::uint32_t behind = op.visibility.causal ? window - 1 : window / 2;
    return position > behind ? position - behind : 0;
}

const float* sink_of(const Op& op, std::size_t head) { return op.weight ? op.weight.f32() + head : nullptr; }

// One past what a token at `position` sees last; its segment ends at `end`.
std::uint32_t end_visible(const Op& op, std::uint32_t position, std::uint32_t end) {
    if (op.visibility.causal) return position + 1;
    const std::uint32_t window = op.visibility.window;
    return window == 0 ? end : std::min(end, position + window / 2 + 1);
}

// Chunks [first, last] of positions that `count` tokens of a segment from its `first` see.
struct Chunks {
    std::size_t first, last;
    std::size_t count() const { return last - first + 1; }
};
Chunks chunks_of(const Op& op, const Segment& s, std::size_t first, std::size_t count) {
    const auto from = static_cast<std::uint32_t>(s.position + first), last = static_cast<std::uint32_t>(from + count - 1);
    return {first_visible(op, from) / kernels::kChunkTokens,
            (end_visible(op, last, s.position + s.count) - 1) / kernels::kChunkTokens};
}

}  // namespace

struct CpuProgram::Queries {
    const void* const* pages;
    std::size_t rows;
    const float* q;
    const std::uint32_t *lo, *hi, *positions;
    const float* slopes;  // null: none
    std::size_t end;  // of the positions that any row sees
    void* kernel_scratch;
    float* rest;  // of the worker's scratch
};

bool CpuProgram::splits_chunks(const Op& op, const Work& work) const noexcept {
    if (partials_.size() == 0 || work.tokens > kSplitTokens) return false;
    const std::size_t tasks = work.batch.segments.size() * op.attention.kv;
    if (tasks >= 2 * std::size_t{pool_.size()}) return false;
    for (const Segment& s : work.batch.segments)
        if (chunks_of(op, s, 0, s.count).count() > 1) return true;
    return false;
}

CpuProgram::Partial CpuProgram::partial(const Op& op, const Work& work, std::uint32_t kv_head,
                                        std::size_t chunk) const noexcept {
    const std::size_t chunks = limits_.max_context / kernels::kChunkTokens + 1;
    const std::size_t rows = work.tokens * (op.attention.q / op.attention.kv);
    float* at = partials_.as<float>() + (kv_head * chunks + chunk) * rows * (op.attention.v_dim + 2);
    return {at, at + rows, at + 2 * rows};
}

void CpuProgram::attend_split(const Op& op, std::size_t index, unsigned worker, Work& work) const noexcept {
    const std::uint32_t heads = op.attention.kv;
    std::size_t pieces = 0;
    for (const Segment& s : work.batch.segments) pieces += chunks_of(op, s, 0, s.count).count() * heads;
    share([&](unsigned region) -> auto& { return counters_[index * pool_.size() + region].next; }, pieces, worker,
          pool_.size(), [&](std::size_t piece) {
              for (const Segment& s : work.batch.segments) {
                  const Chunks chunks = chunks_of(op, s, 0, s.count);
                  const std::size_t own = chunks.count() * heads;
                  if (piece < own) {
                      const auto head = static_cast<std::uint32_t>(piece / chunks.count());
                      const std::size_t chunk = chunks.first + piece % chunks.count();
                      const Queries queries = prepare_queries(op, s, 0, s.count, head, worker, work);
                      const Partial to = partial(op, work, head, chunk);
                      const std::size_t row = s.first * (op.attention.q / heads);
                      attend_chunk(op, queries, chunk, to.m + row, to.l + row, to.o + row * op.attention.v_dim, work);
                      return;
                  }
                  piece -= own;
              }
          });
}

void CpuProgram::merge_attention(const Op& op, unsigned worker, Work& work) const noexcept {
    const graph::Heads& h = op.attention;
    const std::size_t group = h.q / h.kv, all = work.tokens * h.q;
    const std::size_t begin = all * worker / pool_.size(), end = all * (worker + 1) / pool_.size();
    for (const Segment& s : work.batch.segments) {
        const Chunks chunks = chunks_of(op, s, 0, s.count);
        for (std::size_t t = s.first; t < s.first + s.count; ++t)
            for (std::size_t head = 0; head < h.q; ++head) {
                if (t * h.q + head < begin || t * h.q + head >= end) continue;
                const auto kv_head = static_cast<std::uint32_t>(head / group);
                const std::size_t r = t * group + head % group;
                const Partial sum = partial(op, work, kv_head, chunks.first);
                float* o = sum.o + r * h.v_dim;
                for (std::size_t chunk = chunks.first + 1; chunk <= chunks.last; ++chunk) {
                    const Partial next = partial(op, work, kv_head, chunk);
                    kernels_.table.attention_merge(sum.m + r, sum.l + r, o, next.m[r], next.l[r],
                                                   next.o + r * h.v_dim, h.v_dim);
                }
                kernels_.table.attention_finish(sum.m[r], sum.l[r], o, sink_of(op, head),
                                                row_of(op.out, t) + head * h.v_dim, h.v_dim);
            }
    }
}

void CpuProgram::run_attention(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept {
    const Op& op = *step.op;
    if (splits_chunks(op, work)) return attend_split(op, index, worker, work);
    const std::uint32_t heads = op.attention.kv;
    std::size_t blocks = 0;
    for (const Segment& s : work.batch.segments) blocks += (s.count + kQueryBlock - 1) / kQueryBlock;
    share([&](unsigned region) -> auto& { return counters_[index * pool_.size() + region].next; }, blocks * heads,
          worker, pool_.size(), [&](std::size_t piece) {
              const auto head = static_cast<std::uint32_t>(piece % heads);
              // Later blocks see more and take longer: they go first.
              std::size_t block = blocks - 1 - piece / heads;
              for (const Segment& s : work.batch.segments) {
                  const std::size_t own = (s.count + kQueryBlock - 1) / kQueryBlock;
                  if (block < own) {
                      const std::size_t first = block * kQueryBlock;
                      attend(op, s, first, std::min<std::size_t>(kQueryBlock, s.count - first), head, worker, work);
                      return;
                  }
                  block -= own;
              }
          });
}

// Query heads of one KV head, for `count` tokens of a segment from its `first`.
CpuProgram::Queries CpuProgram::prepare_queries(const Op& op, const Segment& segment, std::size_t first,
                                                std::size_t count, std::uint32_t kv_head, unsigned worker,
                                                Work& work) const noexcept {
    const graph::Heads& h = op.attention;
    const std::size_t group = h.q / h.kv, row_count = count * group;
    std::byte* at = scratch(worker);
    const auto take = [&](std::size_t bytes) {
        std::byte* p = at;
        at += round_up(bytes, 64);
        return p;
    };
    void* kernel_scratch = take(kernels::attention_scratch_bytes(h.k_dim, h.v_dim));
    const std::size_t last_position = segment.position + first + count - 1;
    const std::size_t last_page =
        (end_visible(op, static_cast<std::uint32_t>(last_position), segment.position + segment.count) - 1) /
        kernels::kPageTokens;
    auto* pages = reinterpret_cast<const void**>(take((last_page + 1) * sizeof(void*)));
    const std::size_t first_page =
        first_visible(op, static_cast<std::uint32_t>(segment.position + first)) / kernels::kPageTokens;
    std::fill_n(pages, first_page, nullptr);
    for (std::size_t p = first_page; p <= last_page; ++p)
        pages[p] = work.kv.block(segment.pages, p, op.layer, kv_head);
    auto* q = reinterpret_cast<float*>(at);
    auto* lo = reinterpret_cast<std::uint32_t*>(q + row_count * h.k_dim);
    auto* hi = lo + row_count;
    auto* positions = hi + row_count;
    auto* slopes = reinterpret_cast<float*>(positions + row_count);
    std::size_t end = 0;
    for (std::size_t t = 0; t < count; ++t) {
        const auto position = static_cast<std::uint32_t>(segment.position + first + t);
        const float* row = row_of(op.in[0], segment.first + first + t) + kv_head * group * h.k_dim;
        kernels_.table.scale(row, op.factor, q + t * group * h.k_dim, group * h.k_dim);
        for (std::size_t g = 0; g < group; ++g) {
            lo[t * group + g] = first_visible(op, position);
            hi[t * group + g] = end_visible(op, position, segment.position + segment.count);
            positions[t * group + g] = position;
            slopes[t * group + g] = op.slopes.empty() ? 0.0f : op.slopes[kv_head * group + g];
        }
        end = std::max<std::size_t>(end, hi[t * group]);
    }
    return {pages, row_count, q, lo, hi, positions, op.slopes.empty() ? nullptr : slopes, end, kernel_scratch,
            slopes + row_count};
}

void CpuProgram::attend_chunk(const Op& op, const Queries& queries, std::size_t chunk, float* m, float* l, float* o,
                              Work& work) const noexcept {
    const graph::Heads& h = op.attention;
    const std::size_t begin = chunk * kernels::kChunkTokens;
    kernels_.table.attention({.pages = queries.pages,
                              .type = work.kv.type(),
                              .k_dim = h.k_dim,
                              .v_dim = h.v_dim,
                              .chunk_begin = begin,
                              .chunk_end = std::min(begin + kernels::kChunkTokens, queries.end),
                              .q = queries.q,
                              .q_stride = h.k_dim,
                              .rows = queries.rows,
                              .lo = queries.lo,
                              .hi = queries.hi,
                              .softcap = op.softcap,
                              .slopes = queries.slopes,
                              .positions = queries.positions,
                              .m = m,
                              .l = l,
                              .o = o,
                              .o_stride = h.v_dim,
                              .scratch = queries.kernel_scratch});
}

void CpuProgram::attend(const Op& op, const Segment& segment, std::size_t first, std::size_t count,
                        std::uint32_t kv_head, unsigned worker, Work& work) const noexcept {
    const kernels::KernelTable& k = kernels_.table;
    const graph::Heads& h = op.attention;
    const std::size_t group = h.q / h.kv;
    const Queries queries = prepare_queries(op, segment, first, count, kv_head, worker, work);
    float* o = queries.rest;  // of all chunks so far
    float* chunk_o = o + queries.rows * h.v_dim;
    float* m = chunk_o + queries.rows * h.v_dim;
    float* l = m + queries.rows;
    float* chunk_m = l + queries.rows;
    float* chunk_l = chunk_m + queries.rows;
    const Chunks chunks = chunks_of(op, segment, first, count);
    attend_chunk(op, queries, chunks.first, m, l, o, work);
    for (std::size_t chunk = chunks.first + 1; chunk <= chunks.last; ++chunk) {
        attend_chunk(op, queries, chunk, chunk_m, chunk_l, chunk_o, work);
        for (std::size_t r = 0; r < queries.rows; ++r)
            k.attention_merge(m + r, l + r, o + r * h.v_dim, chunk_m[r], chunk_l[r], chunk_o + r * h.v_dim, h.v_dim);
    }
    for (std::size_t t = 0; t < count; ++t)
        for (std::size_t g = 0; g < group; ++g) {
            const std::size_t r = t * group + g;
            float* out = row_of(op.out, segment.first + first + t) + (kv_head * group + g) * h.v_dim;
            k.attention_finish(m[r], l[r], o + r * h.v_dim, sink_of(op, kv_head * group + g), out, h.v_dim);
        }
}

}  // namespace tern::backend::cpu
