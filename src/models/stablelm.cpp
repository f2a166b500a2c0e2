// StableLM (Bellagente et al., arXiv:2402.17834): LayerNorm with biases, rotary positions on a part of each head, SwiGLU.
// StableLM 2 12B norms queries and keys by head and has attention and feed-forward part side by side (no ffn_norm).
#include "models/parts.h"

namespace tern::models {

Definition define_stablelm(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);
    const bool head_norms = d.layer(0).has("attn_q_norm"), parallel = !d.layer(0).has("ffn_norm");

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value normal = layer.layer_norm(x, "attn_norm", eps, Bias::required);
        auto [q, k, v] = layer.qkv(normal, Bias::optional);
        if (head_norms) {
            q = g.layer_norm(q, layer.vectors("attn_q_norm", d.m.heads, d.m.k_dim), {}, eps, d.m.heads);
            k = g.layer_norm(k, layer.vectors("attn_k_norm", d.m.kv_heads, d.m.k_dim), {}, eps, d.m.kv_heads);
        }
        Value h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                              {.scale = d.score_scale()});
        layer.keep_outputs(h, x, normal);
        x = g.add(x, layer.attention_output(h));
        h = parallel ? normal : layer.layer_norm(x, "ffn_norm", eps, Bias::required);
        x = g.add(x, layer.gated(h, Activation::silu, inner));
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::required), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
