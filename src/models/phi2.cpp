// Phi-2 (Microsoft, 2023; the architecture of Phi-1.5, Li et al., arXiv:2309.05463): attention and feed-forward part side by
// side behind one LayerNorm, rotary positions on a part of each head, biases everywhere, the output's included.
#include "models/parts.h"

namespace tern::models {

Definition define_phi2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value normal = layer.layer_norm(x, "attn_norm", eps, Bias::required);
        const auto [q, k, v] = layer.qkv(normal, Bias::required);
        Value h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                              {.scale = d.score_scale()});
        layer.keep_outputs(h, x, normal);
        const Value parallel = layer.mlp(normal, Activation::gelu, inner, Bias::required);
        x = g.add(g.add(layer.attention_output(h, Bias::required), parallel), x);
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::required), d.output(), in.vector("output.bias", d.m.vocab_size)));
    return std::move(d.model);
}

}  // namespace tern::models
