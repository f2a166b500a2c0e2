// A model's forward pass as plain data: a list of operations on f32 values whose rows are the tokens of a batch.
//
// The number of rows is not part of the graph: a value has `per_row` rows for each row of its domain, which is every
// token of the batch or only those whose logits were asked for. A backend compiles a graph once for the largest
// batch and runs it for any smaller one. kernels/ref specifies each operation's arithmetic (docs/numerics.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <tern/dtype.h>

#include "kernels/kernel.h"

namespace tern::graph {

// A matrix in the model file: `slabs` × `rows` × `cols`, cols contiguous. The memory belongs to the model.
struct Weight {
    const void* data = nullptr;
    DType dtype = DType::F32;
    std::uint64_t cols = 0;
    std::uint64_t rows = 1;
    std::uint64_t slabs = 1;  // experts
    std::string name;

    explicit operator bool() const noexcept { return data != nullptr; }
    std::uint64_t row_bytes() const noexcept { return tern::row_bytes(dtype, cols); }
    std::uint64_t bytes() const noexcept { return row_bytes() * rows * slabs; }
    const float* f32() const noexcept { return static_cast<const float*>(data); }
};

enum class Domain : std::uint8_t { tokens, outputs };

struct Value {
    std::int32_t id = -1;
    explicit operator bool() const noexcept { return id >= 0; }
    bool operator==(const Value&) const = default;
};

struct ValueInfo {
    std::uint64_t cols = 0;
    Domain domain = Domain::tokens;
    std::uint32_t per_row = 1;  // rows for each row of the domain (experts used)
};

enum class OpKind : std::uint8_t {
    embed,            // out[t] = row token[t] of weight
    rms_norm,         // per row; weight may be empty
    linear,           // out = in · weightᵀ (+ bias)
    add,              // in0 + in1
    mul,              // in0 * in1
    scale,            // in0 * factor
    silu_mul,         // silu(in0) * in1
    rope,             // rotates the heads of in0 by the batch's positions
    attention,        // stores in1 (K), in2 (V) in KV layer `layer`, then attends with in0 (Q)
    take_outputs,     // rows of the tokens whose logits were asked for
    route,            // in0: router logits -> the best `used` experts of each row and their weights
    gather_experts,   // out: rows of in0 grouped by expert (in1: routing)
    linear_experts,   // like linear, each row with the slab of its expert (in1: routing)
    combine_experts,  // out[row] = sum over its experts, best first, of weight * in0 (in1: routing)
};
const char* to_string(OpKind kind) noexcept;

// Angles: position * inv_freq[i] for pair i, cos and sin multiplied by `factor`.
struct Rope {
    std::vector<double> inv_freq;
    float factor = 1.0f;
    kernels::RopeMode mode = kernels::RopeMode::adjacent;
};

struct Heads {
    std::uint32_t q = 0;
    std::uint32_t kv = 0;
    std::uint32_t k_dim = 0;
    std::uint32_t v_dim = 0;
};

// What a query at position p may see: positions (p - window, p]; window 0: all up to p.
struct Visibility {
    std::uint32_t window = 0;
};

struct Op {
    OpKind kind{};
    Value in[3];
    Value out;
    Weight weight;  // empty where the operation has none
    Weight bias;    // of linear; F32
    float factor = 0;              // eps of norms; factor of scale; score scale of attention
    float softcap = 0;             // attention
    std::uint32_t layer = 0;       // attention: KV layer
    std::uint32_t rope = 0;        // rope: index into Graph::ropes
    std::uint32_t heads = 0;       // rope: heads in a row
    Heads attention;               // attention
    Visibility visibility;         // attention
    std::uint32_t experts = 0;     // route
    std::uint32_t used = 0;        // route
    bool normalise = false;        // route: weights of the chosen experts sum to 1
};

// One KV layer per attention operation.
struct KvLayer {
    std::uint32_t heads = 0;
    std::uint32_t k_dim = 0;
    std::uint32_t v_dim = 0;
    std::uint32_t window = 0;  // positions behind it are never looked at; 0: all are
    std::int32_t rope = -1;    // index into Graph::ropes of what rotated the keys; -1: nothing, or not as the last step
};

// Builder and result. The methods check shapes; a mismatch is Error(internal): models check their weights before.
class Graph {
public:
    Value embed(Weight table);
    Value rms_norm(Value x, Weight w, float eps);
    Value linear(Value x, Weight w, Weight bias = {});
    Value add(Value a, Value b);
    Value mul(Value a, Value b);
    Value scale(Value x, float factor);
    Value silu_mul(Value gate, Value up);
    std::uint32_t add_rope(Rope rope);
    Value rope(Value x, std::uint32_t heads, std::uint32_t rope);
    Value attention(Value q, Value k, Value v, const Heads& heads, float scale, const Visibility& visibility = {},
                    float softcap = 0);
    Value take_outputs(Value x);
    Value route(Value logits, std::uint32_t used, bool normalise);
    Value gather_experts(Value x, Value routing);
    Value linear_experts(Value x, Value routing, Weight w);
    Value combine_experts(Value x, Value routing);
    void set_logits(Value x);

    const std::vector<Op>& ops() const noexcept { return ops_; }
    const std::vector<ValueInfo>& values() const noexcept { return values_; }
    const std::vector<Rope>& ropes() const noexcept { return ropes_; }
    const std::vector<KvLayer>& kv_layers() const noexcept { return kv_layers_; }
    Value logits() const noexcept { return logits_; }
    const ValueInfo& info(Value v) const { return values_.at(static_cast<std::size_t>(v.id)); }

private:
    Value push(Op op, ValueInfo out);
    std::vector<Op> ops_;
    std::vector<ValueInfo> values_;
    std::vector<Rope> ropes_;
    std::vector<KvLayer> kv_layers_;
    Value logits_;
};

// Where each value lies in one arena, for a batch of at most max_tokens tokens and max_outputs outputs. `phases`
// gives for each operation of the graph when it runs, first and last phase; what runs in one phase may run at the same
// time, so values share memory only when their phases do not meet. Offsets are multiples of 256
// bytes, what any device may ask of a buffer that a shader sees.
struct PhaseRange {
    std::size_t first = 0;
    std::size_t last = 0;
};
struct Plan {
    std::vector<std::uint64_t> offset;  // by value id
    std::uint64_t bytes = 0;
};
Plan plan_buffers(const Graph& graph, const std::vector<PhaseRange>& phases, std::uint64_t max_tokens,
                  std::uint64_t max_outputs);

// Bytes of a value: 4 bytes an element, rounded up to 256.
std::uint64_t value_bytes(const ValueInfo& info, std::uint64_t max_tokens, std::uint64_t max_outputs);

}  // namespace tern::graph
