// A model's forward pass as plain data: a list of operations on f32 values whose rows are the tokens of a batch.
//
// The number of rows is not part of the graph: a value has `per_row` rows for each row of its domain, which is every
// token of the batch or only those whose logits were asked for. A backend compiles a graph once for the largest
// batch and runs it for any smaller one. kernels/ref specifies each operation's arithmetic (docs/numerics.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

// What chooses the row of an embedding table.
enum class Lookup : std::uint8_t {
    token,     // the token's id
    position,  // its position in its sequence; sessions are not longer than the table
    first,     // row 0 (the token type of a single text)
};

using kernels::Activation;

// `in0` … are the inputs; the rest are fields of Op. All values are f32.
enum class OpKind : std::uint8_t {
    input,            // out = rows that come from outside (cut.h)
    embed,            // out[t] = row `lookup` of weight
    rms_norm,         // each of `groups` equal parts of a row by itself; weight: empty, of a part or of the row
    layer_norm,       // likewise; bias: empty or as long as weight
    linear,           // out = in0 · weightᵀ (+ bias)
    linear_heads,     // the h-th of weight.slabs parts of a row is multiplied with slab h: out has the parts' results in turn
    add,              // in0 + in1
    mul,              // in0 * in1; an in1 of one column multiplies the whole row
    scale,            // in0 * factor
    softcap,          // softcap * tanh(in0 / softcap)
    activate,         // activation(in0)
    gated,            // activation(in0) * in1; clamped_silu: see kernels::Activation
    slice,            // of each of `groups` equal parts of a row the columns [first, first + out.cols / groups)
    concat,           // for each of `groups` parts: that of in0, then that of in1
    rope,             // rotates the first dimensions of each of `heads` heads of in0 by the batch's positions
    attention,        // stores in1 (K), in2 (V) in KV layer `layer`, then attends with in0 (Q)
    take_outputs,     // rows of the tokens whose logits were asked for
    route,            // in0: router logits -> the best `used` experts of each row and their weights (Routing)
    gather_experts,   // out: rows of in0 grouped by expert (in1: routing)
    linear_experts,   // like linear, each row with the slab of its expert (in1: routing); bias: a row per expert
    combine_experts,  // out[row] = sum over its experts, best first, of weight * in0 (in1: routing)
};
const char* to_string(OpKind kind) noexcept;

// Angles: position * inv_freq[i] for pair i, cos and sin multiplied by `factor`.
struct Rope {
    std::vector<double> inv_freq;
    float factor = 1.0f;
    kernels::RopeMode mode = kernels::RopeMode::adjacent;
    // Where not empty: the angles of programs whose Limits::max_context is larger than `short_context` (LongRoPE,
    // arXiv:2402.13753). As many as inv_freq.
    std::vector<double> long_inv_freq;
    std::uint32_t short_context = 0;

    const std::vector<double>& frequencies(std::uint32_t max_context) const noexcept {
        return !long_inv_freq.empty() && max_context > short_context ? long_inv_freq : inv_freq;
    }
};

struct Heads {
    std::uint32_t q = 0;
    std::uint32_t kv = 0;
    std::uint32_t k_dim = 0;
    std::uint32_t v_dim = 0;
};

// What a query at position p may see. Causal: positions (p - window, p]; window 0: all up to p. Not causal: all of its
// segment of the batch, which then is a whole sequence from position 0 on; with a window those within window / 2 of p.
struct Visibility {
    std::uint32_t window = 0;
    bool causal = true;
};

struct AttentionOptions {
    float scale = 1.0f;  // of the scores
    Visibility visibility;
    float softcap = 0;          // 0: none; else a score becomes softcap * tanh(score / softcap)
    Weight sinks;               // F32, empty or one score per query head that joins the softmax and has no value
    std::vector<float> slopes;  // ALiBi: empty or one per query head; slope * |distance| is subtracted from the score
};

// How experts are chosen from the logits x of a row.
enum class RouteScore : std::uint8_t {
    softmax,         // of all logits
    sigmoid,         // of each
    softmax_chosen,  // the logits choose; weights are the softmax of the chosen ones
};
// score s = softmax(x) or sigmoid(x) or x; the choice goes by s + bias. With groups > 1 the experts form equal groups, of
// which only the best `groups_used` by the sum of their two largest s + bias take part. The best `used` experts are
// chosen, largest first, ties to the lower index. weight = s of the chosen one (softmax_chosen: softmax over the
// chosen x); normalise: divided by (their sum + 1e-20); then times `scale`.
struct Routing {
    std::uint32_t used = 1;
    RouteScore score = RouteScore::softmax;
    bool normalise = false;
    float scale = 1.0f;
    Weight bias;  // F32, empty or one per expert
    std::uint32_t groups = 1;
    std::uint32_t groups_used = 1;
};

struct Op {
    OpKind kind{};
    Value in[3];
    Value out;
    Weight weight;  // empty where the operation has none; attention: sinks
    Weight bias;    // of linear, linear_experts, layer_norm; route: Routing::bias. F32
    float factor = 0;                         // eps of norms; factor of scale; score scale of attention; Routing::scale
    float softcap = 0;                        // softcap, attention
    std::uint32_t layer = 0;                  // attention: KV layer
    std::uint32_t rope = 0;                   // rope: index into Graph::ropes
    std::uint32_t heads = 0;                  // rope: heads in a row
    Heads attention;                          // attention
    Visibility visibility;                    // attention
    std::vector<float> slopes;                // attention
    std::uint32_t experts = 0;                // route
    std::uint32_t used = 0;                   // route
    bool normalise = false;                   // route
    RouteScore score = RouteScore::softmax;   // route
    std::uint32_t groups = 1;                 // norms, slice, concat; route: Routing::groups
    std::uint32_t groups_used = 1;            // route
    std::uint32_t first = 0;                  // slice
    Lookup lookup = Lookup::token;            // embed
    Activation activation = Activation::silu; // activate, gated
};

// One KV layer per attention operation.
struct KvLayer {
    std::uint32_t heads = 0;
    std::uint32_t k_dim = 0;
    std::uint32_t v_dim = 0;
    std::uint32_t window = 0;  // positions behind it are never looked at; 0: all are
    std::int32_t rope = -1;    // index into Graph::ropes of what rotated the keys; -1: nothing, not as the last step, or
                               // by angles that depend on the context
    bool causal = true;
};

// Builder and result. The methods check shapes; a mismatch is Error(internal): models check their weights before.
class Graph {
public:
    // At most one in a graph.
    Value input(std::uint64_t cols, Domain domain = Domain::tokens);
    Value embed(Weight table, Lookup lookup = Lookup::token);
    Value rms_norm(Value x, Weight w, float eps, std::uint32_t groups = 1);
    Value layer_norm(Value x, Weight w, Weight bias, float eps, std::uint32_t groups = 1);
    Value linear(Value x, Weight w, Weight bias = {});
    Value linear_heads(Value x, Weight w);
    Value add(Value a, Value b);
    Value mul(Value a, Value b);
    Value scale(Value x, float factor);
    Value softcap(Value x, float cap);
    Value activate(Activation kind, Value x);
    Value gated(Activation kind, Value gate, Value up);
    Value slice(Value x, std::uint32_t first, std::uint32_t count, std::uint32_t groups = 1);
    Value concat(Value a, Value b, std::uint32_t groups = 1);
    std::uint32_t add_rope(Rope rope);
    Value rope(Value x, std::uint32_t heads, std::uint32_t rope);
    Value attention(Value q, Value k, Value v, const Heads& heads, const AttentionOptions& options);
    Value take_outputs(Value x);
    Value route(Value logits, const Routing& routing);
    Value gather_experts(Value x, Value routing);
    Value linear_experts(Value x, Value routing, Weight w, Weight bias = {});
    Value combine_experts(Value x, Value routing);
    void set_logits(Value x);
    // What a part of a model gives instead: a value of either domain.
    void set_result(Value x);

    // The same with the rows that the last matrix product takes as its result, in place of the logits.
    Graph before_logits() const;

    const std::vector<Op>& ops() const noexcept { return ops_; }
    const std::vector<ValueInfo>& values() const noexcept { return values_; }
    const std::vector<Rope>& ropes() const noexcept { return ropes_; }
    const std::vector<KvLayer>& kv_layers() const noexcept { return kv_layers_; }
    // The result.
    Value logits() const noexcept { return logits_; }
    // Positions of the longest sequence that it can compute; 0: any.
    std::uint64_t max_positions() const noexcept { return max_positions_; }
    // Whether a token sees only those before it, so that a sequence can be computed in pieces.
    bool causal() const noexcept;
    const ValueInfo& info(Value v) const { return values_.at(static_cast<std::size_t>(v.id)); }

private:
    friend std::vector<Graph> cut(const Graph& graph, std::span<const std::size_t> at);
    Value push(Op op, ValueInfo out);
    std::vector<Op> ops_;
    std::vector<ValueInfo> values_;
    std::vector<Rope> ropes_;
    std::vector<KvLayer> kv_layers_;
    Value logits_;
    std::uint64_t max_positions_ = 0;
};

// Bytes of the weights of all operations; what several share counts once.
std::uint64_t weight_bytes(const Graph& graph);

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
