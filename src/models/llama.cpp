// Llama (Touvron et al., arXiv:2302.13971; arXiv:2307.09288) and Mixtral (Jiang et al., arXiv:2401.04088): RMSNorm,
// rotary positions on adjacent pairs, grouped-query attention, SwiGLU; with expert_count > 0 a sparse mixture of
// SwiGLU experts, the weights of the best few renormalised to 1.
#include <fmt/format.h>

#include <cmath>

#include "models/architecture.h"
#include "models/rope.h"

namespace tern::models {

Definition define_llama(Loader& in) {
    Definition model;
    ModelInfo& m = model.info;
    m.layers = in.u32("block_count", 1, static_cast<std::uint32_t>(in.tensor_count()));
    m.width = in.u32("embedding_length", 1, 1u << 20);
    m.heads = in.u32("attention.head_count", 1, 1u << 14);
    m.kv_heads = in.u32_or("attention.head_count_kv", m.heads, 1, m.heads);
    const bool dims_given = in.has("attention.key_length") && in.has("attention.value_length");
    if (!dims_given && m.width % m.heads != 0)
        in.fail(fmt::format("key '{}' is {}, which does not divide the width of {}", in.key("attention.head_count"),
                            m.heads, m.width));
    if (m.heads % m.kv_heads != 0)
        in.fail(fmt::format("key '{}' is {}, which does not divide the {} query heads",
                            in.key("attention.head_count_kv"), m.kv_heads, m.heads));
    m.k_dim = in.u32_or("attention.key_length", m.width / m.heads, 1, 1u << 14);
    m.v_dim = in.u32_or("attention.value_length", m.width / m.heads, 1, 1u << 14);
    m.context_length = in.u32("context_length", 1, 1u << 30);
    const std::uint32_t n_rot = in.u32_or("rope.dimension_count", m.k_dim, 2, m.k_dim);
    const std::uint32_t n_experts = in.u32_or("expert_count", 0, 0, 4096);
    // Above zero, so that a row of zeros stays finite.
    const float eps = in.f32("attention.layer_norm_rms_epsilon", 1e-12f, 1.0f);
    const std::uint64_t ff = in.u32("feed_forward_length", 1, 1u << 24);
    if (n_rot % 2 != 0)
        in.fail(fmt::format("key '{}' (or the key length) is {}, which is odd", in.key("rope.dimension_count"), n_rot));

    const std::uint64_t q_width = std::uint64_t{m.heads} * m.k_dim, k_width = std::uint64_t{m.kv_heads} * m.k_dim,
                        v_width = std::uint64_t{m.kv_heads} * m.v_dim, o_width = std::uint64_t{m.heads} * m.v_dim;
    const graph::Heads heads{m.heads, m.kv_heads, m.k_dim, m.v_dim};
    const float score_scale = 1.0f / std::sqrt(static_cast<float>(m.k_dim));

    graph::Graph& g = model.graph;
    const graph::Weight embedding = in.table("token_embd.weight", m.width);
    m.vocab_size = static_cast<std::uint32_t>(embedding.rows);
    const graph::Weight output_norm = in.vector("output_norm.weight", m.width);
    graph::Weight output = in.optional_matrix("output.weight", m.vocab_size, m.width);
    if (!output) output = embedding;
    const std::uint32_t rope = g.add_rope(make_rope(in, n_rot, kernels::RopeMode::adjacent,
                                                    in.optional_vector("rope_freqs.weight", n_rot / 2)));

    graph::Value x = g.embed(embedding);
    for (std::uint32_t i = 0; i < m.layers; ++i) {
        const auto w = [&](const char* part) { return fmt::format("blk.{}.{}.weight", i, part); };
        const auto bias = [&](const char* part, std::uint64_t n) {
            return in.optional_vector(fmt::format("blk.{}.{}.bias", i, part), n);
        };
        graph::Value h = g.rms_norm(x, in.vector(w("attn_norm"), m.width), eps);
        const graph::Value q = g.rope(
            g.linear(h, in.matrix(w("attn_q"), q_width, m.width), bias("attn_q", q_width)), m.heads, rope);
        const graph::Value k = g.rope(
            g.linear(h, in.matrix(w("attn_k"), k_width, m.width), bias("attn_k", k_width)), m.kv_heads, rope);
        const graph::Value v = g.linear(h, in.matrix(w("attn_v"), v_width, m.width), bias("attn_v", v_width));
        h = g.attention(q, k, v, heads, {.scale = score_scale});
        if (i + 1 == m.layers) {  // only the rows that lead to logits go on
            h = g.take_outputs(h);
            x = g.take_outputs(x);
        }
        x = g.add(x, g.linear(h, in.matrix(w("attn_output"), m.width, o_width), bias("attn_output", m.width)));

        h = g.rms_norm(x, in.vector(w("ffn_norm"), m.width), eps);
        if (n_experts == 0) {
            const graph::Value gate = g.linear(h, in.matrix(w("ffn_gate"), ff, m.width));
            const graph::Value up = g.linear(h, in.matrix(w("ffn_up"), ff, m.width));
            x = g.add(x, g.linear(g.gated(graph::Activation::silu, gate, up), in.matrix(w("ffn_down"), m.width, ff)));
        } else {
            const std::uint32_t used = in.u32("expert_used_count", 1, n_experts);
            const graph::Value routing =
                g.route(g.linear(h, in.matrix(w("ffn_gate_inp"), n_experts, m.width)), {.used = used, .normalise = true});
            h = g.gather_experts(h, routing);
            const graph::Value gate = g.linear_experts(h, routing, in.experts(w("ffn_gate_exps"), n_experts, ff, m.width));
            const graph::Value up = g.linear_experts(h, routing, in.experts(w("ffn_up_exps"), n_experts, ff, m.width));
            const graph::Value down = g.linear_experts(g.gated(graph::Activation::silu, gate, up), routing,
                                                       in.experts(w("ffn_down_exps"), n_experts, m.width, ff));
            x = g.add(x, g.combine_experts(down, routing));
        }
    }
    g.set_logits(g.linear(g.rms_norm(x, output_norm, eps), output));
    return model;
}

}  // namespace tern::models
