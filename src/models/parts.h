// What the architectures have in common: dimensions, the names of tensors, and the parts that papers name in
// one word.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/architecture.h"
#include "models/rope.h"

namespace tern::models {

using graph::Activation;
using graph::Value;
using graph::Weight;
using kernels::RopeMode;

// Whether a matrix product has a bias. optional: where blk.0 has one, all layers have.
enum class Bias { none, required, optional };

class Layer;

// A decoder while it is being defined. Reads the keys that all of them have and the embedding.
class Decoder {
public:
    explicit Decoder(Loader& loader);
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;

    Loader& in;
    Definition model;
    ModelInfo& m = model.info;
    graph::Graph& g = model.graph;
    Weight embedding;

    Layer layer(std::uint32_t index);
    graph::Heads heads() const { return {m.heads, m.kv_heads, m.k_dim, m.v_dim}; }
    // 1 / sqrt(k_dim), or what the file says.
    float score_scale() const;
    float rms_eps() const;
    float layer_eps() const;
    std::uint64_t feed_forward() const;
    // rope.dimension_count, else the key length.
    std::uint32_t rotated() const;
    // Angles for the rotated dimensions of a head.
    std::uint32_t add_rope(RopeMode mode);
    // For each layer: how many positions it sees, 0: all. A period of n makes every n-th layer see all,
    // unless the file says which ones do.
    std::vector<std::uint32_t> windows(std::uint32_t period) const;

    Value embed() { return g.embed(embedding); }
    // output_norm, and output_norm.bias.
    Value output_rms_norm(Value x, float eps);
    Value output_layer_norm(Value x, float eps, Bias bias);
    // The output matrix, which may be the embedding.
    Weight output();
};

// blk.INDEX.* of a decoder. A part "attn_q" is the tensor blk.INDEX.attn_q.weight.
class Layer {
public:
    Layer(Decoder& decoder, std::uint32_t index) : d_(&decoder), index_(index) {}

    std::uint32_t index() const noexcept { return index_; }
    bool has(const char* part) const { return d_->in.has_tensor(name(part)); }
    Weight matrix(const char* part, std::uint64_t rows, std::uint64_t cols) const;
    Weight vector(const char* part, std::uint64_t n) const;
    // A vector for each head, as one vector.
    Weight vectors(const char* part, std::uint32_t heads, std::uint32_t n) const;
    Weight expert_matrices(const char* part, std::uint64_t slabs, std::uint64_t rows,
                           std::uint64_t cols) const;
    Weight bias(const char* part, std::uint64_t n, Bias bias) const;

    Value linear(Value x, const char* part, std::uint64_t rows, Bias bias = Bias::none) const;
    Value rms_norm(Value x, const char* part, float eps) const;
    Value layer_norm(Value x, const char* part, float eps, Bias bias) const;
    // Each head by itself, with one weight for all.
    Value head_norm(Value x, const char* part, std::uint32_t heads, float eps) const;

    struct QKV {
        Value q, k, v;
    };
    // attn_q, attn_k and attn_v, or their rows one behind the other in attn_qkv.
    QKV qkv(Value x, Bias bias) const;
    // attn_output, from all heads to the width.
    Value attention_output(Value x, Bias bias = Bias::none) const;

    // activation(ffn_gate · x) * (ffn_up · x), then ffn_down. (Shazeer, arXiv:2002.05202)
    Value gated(Value x, Activation kind, std::uint64_t inner, Bias bias = Bias::none) const;
    // The same where ffn_up has the rows of the gate, then those of up.
    Value gated_fused(Value x, Activation kind, std::uint64_t inner, Bias down = Bias::none) const;
    // ffn_up, activation, ffn_down.
    Value mlp(Value x, Activation kind, std::uint64_t inner, Bias bias) const;
    // ffn_*_exps, chosen by ffn_gate_inp.
    Value experts(Value x, Activation kind, std::uint64_t inner, std::uint32_t count,
                  const graph::Routing& routing, Bias bias = Bias::none) const;
    // ffn_*_shexp: a gated part that sees every token.
    Value shared_expert(Value x, Activation kind, std::uint64_t inner) const;

    // In the last layer only the rows that lead to logits go on.
    template <class... Values>
    void keep_outputs(Values&... values) const {
        if (index_ + 1 == d_->m.layers) ((values = d_->g.take_outputs(values)), ...);
    }

private:
    std::string name(const char* part, const char* kind = "weight") const;
    Value gated_parts(Value x, Activation kind, const char* gate, const char* up, const char* down,
                      std::uint64_t inner, Bias bias) const;

    Decoder* d_;
    std::uint32_t index_;
};

// Whole decoders that several papers share but for a word.
// Llama's (Touvron et al., arXiv:2302.13971): RMSNorm before each part, rotary positions on pairs of `mode`, SwiGLU.
Definition rms_norm_decoder(Loader& in, RopeMode mode, Bias qkv);
// GPT-2's with rotary positions on pairs of halves and grouped-query attention: LayerNorm before each part, no gate.
// `bias`: of every matrix.
Definition layer_norm_decoder(Loader& in, Activation activation, Bias bias);

// An encoder's input: token_embd, the type of a single text (token_types, where there is one), and what `further` holds,
// normed. The encoder's layers see all of a text.
Value encoder_input(Decoder& d, float eps, Value further = {});
// h of a layer becomes norm(x + h): the norm stands behind the sum (as in Vaswani et al., arXiv:1706.03762).
Value add_and_norm(const Layer& layer, graph::Graph& g, Value x, Value h, const char* norm, float eps);
graph::AttentionOptions sees_all(const Decoder& d);

// Rows [first, first + count) of a matrix: its rows stand one behind the other.
Weight rows_of(const Weight& w, std::uint64_t first, std::uint64_t count);
// Elements [first, first + count) of a vector.
Weight elements_of(const Weight& w, std::uint64_t first, std::uint64_t count);

// A power of two per head (Press, Smith and Lewis, arXiv:2108.12409, section 3; between powers for other
// numbers of heads as in the authors' code).
std::vector<float> alibi_slopes(std::uint32_t heads, float max_bias);

}  // namespace tern::models
