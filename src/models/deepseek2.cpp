// DeepSeek-V2 and V3 (DeepSeek-AI, arXiv:2405.04434 and arXiv:2412.19437): multi-head latent attention and fine-grained
// experts beside a shared one.
//
// Keys and values of all heads are products with one compressed row per token, c = norm(W x), and a rotated part r that
// all heads share: k_h = [r, A_h c], v_h = B_h c. The products are moved to the other side, q_h . k_h = [rotated q_h,
// A_h^T q_h] . [r, c] and the sum over positions of p v_h = B_h (sum of p c), so that the cache holds r and c only (section
// 2.1.2 of the first paper) and attention has one KV head.
#include <cmath>

#include "models/parts.h"

namespace tern::models {

Definition define_deepseek2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint32_t n_heads = d.m.heads, n_rot = d.rotated();
    const std::uint32_t latent = in.u32("attention.kv_lora_rank", 1, 1u << 16);
    const std::uint32_t k_dim = in.u32("attention.key_length_mla", n_rot + 1, 1u << 14), n_plain = k_dim - n_rot;
    const std::uint32_t v_dim = in.u32("attention.value_length_mla", 1, 1u << 14);
    const std::uint32_t q_latent = in.u32_or("attention.q_lora_rank", 0, 0, 1u << 16);
    d.m.kv_heads = 1;
    d.m.k_dim = n_rot + latent;
    d.m.v_dim = latent;

    // The multiplier of the files is a tenth of the paper's. Scores grow with its square and the angles keep their length,
    // except where no multiplier is given.
    const double factor = static_cast<double>(in.f32_or("rope.scaling.factor", 1.0f, 1e-3f, 1e6f));
    const double m = static_cast<double>(in.f32_or("rope.scaling.yarn_log_multiplier", 0.0f, 0.0f, 10.0f)) / 0.1;
    const bool yarn = in.string_or("rope.scaling.type", "none") == "yarn";
    const double length = yarn && m == 0 ? yarn_magnitude(factor, 1) : 1.0;
    const double growth = yarn ? length * yarn_magnitude(factor, m) : 1.0;
    const std::uint32_t rope =
        g.add_rope(make_rope(in, {.n_rot = n_rot, .mode = RopeMode::adjacent, .magnitude = length}));
    const float scale = static_cast<float>(growth * growth / std::sqrt(static_cast<double>(k_dim)));

    const std::uint32_t dense_layers = in.u32_or("leading_dense_block_count", 0, 0, d.m.layers);
    const std::uint64_t inner = dense_layers > 0 ? d.feed_forward() : 0;
    const std::uint32_t n_experts = in.u32("expert_count", 1, 4096);
    const std::uint32_t expert_inner = in.u32("expert_feed_forward_length", 1, 1u << 20);
    const std::uint32_t shared = in.u32("expert_shared_count", 1, 64);
    graph::Routing routing{.used = in.u32("expert_used_count", 1, n_experts)};
    routing.normalise = in.bool_or("expert_weights_norm", false);
    routing.scale = in.f32_or("expert_weights_scale", 1.0f, 1e-6f, 1e6f);
    // 1: softmax, 2: sigmoid.
    const bool sigmoid = in.u32_or("expert_gating_func", 1, 1, 2) == 2;
    routing.score = sigmoid ? graph::RouteScore::sigmoid : graph::RouteScore::softmax;
    routing.groups = in.u32_or("expert_group_count", 1, 1, n_experts);
    routing.groups_used = in.u32_or("expert_group_used_count", 1, 1, routing.groups);
    if (n_experts % routing.groups != 0 || routing.used > n_experts / routing.groups * routing.groups_used)
        in.fail("the expert keys do not fit together: groups of experts of equal size, enough of them for those used");

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const std::uint64_t q_width = std::uint64_t{n_heads} * k_dim;
        const Value q = q_latent == 0 ? layer.linear(h, "attn_q", q_width)
                                      : layer.linear(layer.rms_norm(layer.linear(h, "attn_q_a", q_latent), "attn_q_a_norm", eps),
                                                     "attn_q_b", q_width);
        const Value q_plain = g.linear_heads(g.slice(q, 0, n_plain, n_heads),
                                             layer.expert_matrices("attn_k_b", n_heads, latent, n_plain));
        const Value q_turned = g.rope(g.concat(g.slice(q, n_plain, n_rot, n_heads), q_plain, n_heads), n_heads, rope);
        const Value kv = layer.linear(h, "attn_kv_a_mqa", latent + n_rot);
        const Value c = layer.rms_norm(g.slice(kv, 0, latent), "attn_kv_a_norm", eps);
        const Value k = g.rope(g.concat(g.slice(kv, latent, n_rot), c), 1, rope);
        h = g.attention(q_turned, k, c, d.heads(), {.scale = scale});
        layer.keep_outputs(h, x);
        h = g.linear_heads(h, layer.expert_matrices("attn_v_b", n_heads, v_dim, latent));
        x = g.add(x, layer.attention_output(h));

        h = layer.rms_norm(x, "ffn_norm", eps);
        if (i < dense_layers) {
            x = g.add(x, layer.gated(h, Activation::silu, inner));
            continue;
        }
        routing.bias = sigmoid ? layer.bias("exp_probs_b", n_experts, Bias::required) : Weight{};
        x = g.add(x, g.add(layer.experts(h, Activation::silu, expert_inner, n_experts, routing),
                           layer.shared_expert(h, Activation::silu, std::uint64_t{expert_inner} * shared)));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
