// A graph compiled for the CPU: a list of steps that every worker of the pool walks, meeting at barriers.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "backend/cpu/dense.h"
#include "backend/interface.h"
#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/registry.h"

namespace tern::backend::cpu {

class CpuKv;

// The routing of one batch to experts. Slots are the (row, rank) pairs grouped by expert, rows ascending within.
struct Routing {
    std::uint32_t* expert;  // [row][rank], best first
    float* weight;          // [row][rank]
    std::uint32_t* slot;    // [row][rank] -> slot
    std::uint32_t* row;     // slot -> row
    std::uint32_t* begin;   // expert -> first slot; experts + 1 entries
    float* score;           // [row][2][expert]: without and with what only the choice uses
};

class CpuProgram final : public Program {
public:
    // `dense` (null: none) is asked first for every matrix product.
    CpuProgram(const graph::Graph& graph, const Limits& limits, const kernels::KernelSet& kernels,
               const DenseProduct* dense, base::ThreadPool& pool);
    std::span<const float> run(const Batch& batch, KvMemory& kv) override;
    std::uint64_t scratch_bytes() const noexcept override;
    // What scratch_bytes() of such a program would be.
    static std::uint64_t scratch_bytes(const graph::Graph& graph, const Limits& limits, const kernels::KernelSet& kernels,
                                       const DenseProduct* dense, base::ThreadPool& pool);

private:
    enum class StepKind : std::uint8_t {
        input, rope_tables, embed, rms_norm, layer_norm, add, mul, scale, softcap, activate, gated, slice, concat, rope, store_kv,
        attention, merge_attention, take_outputs, route, group, gather, quantise, linear, linear_heads, linear_experts,
        combine,
    };
    struct Step {
        StepKind kind;
        const graph::Op* op;               // the (first) operation
        std::vector<const graph::Op*> ops; // linear: all that share the input
        bool barrier = false;              // wait for all workers before it
        std::size_t phase = 0;             // barriers before it
        bool split_columns = false;        // with one row, workers share its columns
        kernels::ActKind act = kernels::ActKind::f32;  // quantise, linear
        std::uint32_t groups = 1;          // quantise: parts of a row that do not share blocks
    };
    struct Work;  // of one run

    struct SizesOnly {};
    CpuProgram(const graph::Graph& graph, const Limits& limits, const kernels::KernelSet& kernels,
               const DenseProduct* dense, base::ThreadPool& pool, SizesOnly)
        : graph_(graph), limits_(limits), kernels_(kernels), dense_(dense), pool_(pool) {}
    // Steps and sizes; takes no buffers.
    void compile();
    void execute(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept;
    void run_rows(const Step& step, unsigned worker, Work& work) const noexcept;
    void run_row(const Step& step, std::size_t row, std::size_t col, std::size_t cols, Work& work) const noexcept;
    void run_linear(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept;
    void run_heads(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept;
    void run_experts(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept;
    void run_attention(const Step& step, std::size_t index, unsigned worker, Work& work) const noexcept;
    struct Queries;  // of one KV head, ready for the kernel
    Queries prepare_queries(const graph::Op& op, const Segment& segment, std::size_t first, std::size_t count,
                            std::uint32_t kv_head, unsigned worker, Work& work) const noexcept;
    void attend_chunk(const graph::Op& op, const Queries& queries, std::size_t chunk, float* m, float* l, float* o,
                      Work& work) const noexcept;
    void attend(const graph::Op& op, const Segment& segment, std::size_t first, std::size_t count,
                std::uint32_t kv_head, unsigned worker, Work& work) const noexcept;
    // Whether the chunks of a sequence are shared between workers, too: few heads and tokens, many positions.
    bool splits_chunks(const graph::Op& op, const Work& work) const noexcept;
    // Results of one chunk: m, l and o of all rows of the batch.
    struct Partial {
        float *m, *l, *o;
    };
    Partial partial(const graph::Op& op, const Work& work, std::uint32_t kv_head, std::size_t chunk) const noexcept;
    void attend_split(const graph::Op& op, std::size_t index, unsigned worker, Work& work) const noexcept;
    void merge_attention(const graph::Op& op, unsigned worker, Work& work) const noexcept;
    void choose_experts(const graph::Op& op, std::size_t row) const noexcept;
    void group(const graph::Op& op, Work& work) const noexcept;
    std::size_t piece_rows(const graph::Weight& weight, std::size_t tokens) const noexcept;
    void multiply(const graph::Op& op, std::size_t slab, std::size_t row, std::size_t row_count, const float* x,
                  const void* act, std::size_t act_stride, std::size_t tokens, float* out, std::size_t out_stride,
                  unsigned worker) const noexcept;

    std::size_t rows(const graph::ValueInfo& info, const Work& work) const noexcept;
    float* value(graph::Value v) const noexcept;
    float* row_of(graph::Value v, std::size_t row) const noexcept;
    Routing routing(graph::Value v, const graph::Op& route) const noexcept;
    const graph::Op& producer(graph::Value v) const noexcept { return *producer_[static_cast<std::size_t>(v.id)]; }
    std::byte* scratch(unsigned worker) const noexcept { return scratch_.data() + worker * scratch_stride_; }

    const graph::Graph& graph_;
    const Limits limits_;
    const kernels::KernelSet& kernels_;
    const DenseProduct* const dense_;
    base::ThreadPool& pool_;
    std::vector<Step> steps_;
    std::vector<const graph::Op*> producer_;
    graph::Plan plan_;
    base::AlignedBuffer arena_;    // values
    base::AlignedBuffer acts_;     // quantised activations of one value
    base::AlignedBuffer angles_;   // cos and sin per rope and token
    base::AlignedBuffer scratch_;  // per worker
    base::AlignedBuffer partials_; // of attention, by KV head and chunk; one layer at a time
    struct {
        std::size_t acts = 0, angles = 0, partials = 0;
    } sizes_;
    std::size_t scratch_stride_ = 0;
    std::vector<std::size_t> angle_offset_;  // in floats, by rope
    struct alignas(64) Counter {
        std::atomic<std::uint32_t> next;
    };
    std::unique_ptr<Counter[]> counters_;  // [step][worker]
    std::vector<std::uint32_t> positions_;
    std::vector<std::uint32_t> output_rows_;
};

}  // namespace tern::backend::cpu
