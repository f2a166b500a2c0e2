// Nemotron-4 and Minitron (Parmar et al., arXiv:2402.16819): LayerNorm with biases (files add the 1 of its "1 + weight"),
// rotary positions on half of each head, squared ReLU without a gate.
#include "models/parts.h"

namespace tern::models {

Definition define_nemotron(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.layer_norm(x, "attn_norm", eps, Bias::required);
        const auto [q, k, v] = layer.qkv(h, Bias::optional);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h, Bias::optional));
        h = layer.layer_norm(x, "ffn_norm", eps, Bias::required);
        x = g.add(x, layer.mlp(h, Activation::relu_squared, inner, Bias::optional));
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::required), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
