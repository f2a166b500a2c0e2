// Llama (Touvron et al., arXiv:2302.13971; arXiv:2307.09288) and Mixtral (Jiang et al., arXiv:2401.04088): RMSNorm,
// rotary positions on adjacent pairs, grouped-query attention, SwiGLU; with expert_count > 0 a sparse mixture of
// SwiGLU experts, the weights of the best few renormalised to 1.
#include "models/parts.h"

namespace tern::models {

Definition define_llama(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t n_experts = in.u32_or("expert_count", 0, 0, 4096);
    const std::uint32_t rope = d.add_rope(RopeMode::adjacent);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::optional);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h, Bias::optional));

        h = layer.rms_norm(x, "ffn_norm", eps);
        if (n_experts == 0) {
            x = g.add(x, layer.gated(h, Activation::silu, inner));
        } else {
            const std::uint32_t used = in.u32("expert_used_count", 1, n_experts);
            x = g.add(x, layer.experts(h, Activation::silu, inner, n_experts, {.used = used, .normalise = true}));
        }
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
