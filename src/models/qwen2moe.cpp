// Qwen1.5-MoE and Qwen2-MoE (Yang et al., arXiv:2407.10671, section 2.2.2): Qwen2 with fine-grained experts, whose weights
// are not normalised, beside a shared one that a sigmoid gate weighs.
#include "models/parts.h"

namespace tern::models {

Definition define_qwen2moe(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);
    const std::uint32_t n_experts = in.u32("expert_count", 1, 4096), used = in.u32("expert_used_count", 1, n_experts);
    const std::uint32_t inner = in.u32("expert_feed_forward_length", 1, 1u << 24),
                        shared_inner = in.u32("expert_shared_feed_forward_length", 1, 1u << 24);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::required);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h));

        h = layer.rms_norm(x, "ffn_norm", eps);
        const Value chosen = layer.experts(h, Activation::silu, inner, n_experts, {.used = used});
        const Value gate = g.activate(Activation::sigmoid, g.linear(h, layer.vector("ffn_gate_inp_shexp", d.m.width)));
        const Value shared = g.mul(layer.shared_expert(h, Activation::silu, shared_inner), gate);
        x = g.add(x, g.add(chosen, shared));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
