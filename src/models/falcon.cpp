// Falcon (Almazrouei et al., arXiv:2311.16867): attention and feed-forward part side by side, multi-query attention, no
// biases but those of LayerNorm. The larger models norm the input of the attention apart (attn_norm_2).
#include "models/parts.h"

namespace tern::models {

Definition define_falcon(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);
    const bool two_norms = d.layer(0).has("attn_norm_2");

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value normal = layer.layer_norm(x, "attn_norm", eps, Bias::required);
        const auto [q, k, v] =
            layer.qkv(two_norms ? layer.layer_norm(x, "attn_norm_2", eps, Bias::required) : normal, Bias::none);
        Value h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                              {.scale = d.score_scale()});
        layer.keep_outputs(h, x, normal);
        x = g.add(g.add(layer.mlp(normal, Activation::gelu, inner, Bias::none), layer.attention_output(h)), x);
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::required), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
