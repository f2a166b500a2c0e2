// Qwen3 (Yang et al., arXiv:2505.09388): no biases, but an RMSNorm of each head's queries and keys before they are
// rotated; and its mixture of experts, whose chosen weights are normalised.
#include "models/parts.h"

namespace tern::models {

Definition define_qwen3(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);
    const bool mixture = in.architecture() == "qwen3moe";
    const std::uint32_t n_experts = mixture ? in.u32("expert_count", 1, 4096) : 0;
    const std::uint32_t used = mixture ? in.u32("expert_used_count", 1, n_experts) : 0;
    const std::uint64_t inner = mixture ? in.u32("expert_feed_forward_length", 1, 1u << 24) : d.feed_forward();

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        auto [q, k, v] = layer.qkv(h, Bias::none);
        q = g.rope(layer.head_norm(q, "attn_q_norm", d.m.heads, eps), d.m.heads, rope);
        k = g.rope(layer.head_norm(k, "attn_k_norm", d.m.kv_heads, eps), d.m.kv_heads, rope);
        h = g.attention(q, k, v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h));

        h = layer.rms_norm(x, "ffn_norm", eps);
        x = g.add(x, mixture ? layer.experts(h, Activation::silu, inner, n_experts, {.used = used, .normalise = true})
                             : layer.gated(h, Activation::silu, inner));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
