// StarCoder2 (Lozhkov et al., arXiv:2402.19173): LayerNorm and biases as in GPT-2, rotary positions, grouped-query
// attention.
#include "models/parts.h"

namespace tern::models {

Definition define_starcoder2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.layer_norm(x, "attn_norm", eps, Bias::required);
        const auto [q, k, v] = layer.qkv(h, Bias::required);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h, Bias::required));
        h = layer.layer_norm(x, "ffn_norm", eps, Bias::required);
        x = g.add(x, layer.mlp(h, Activation::gelu, inner, Bias::required));
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::required), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
