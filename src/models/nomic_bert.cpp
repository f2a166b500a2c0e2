// Nomic BERT (Nussbaum et al., arXiv:2402.01613): BERT with rotary positions on halves and SwiGLU, without biases.
#include "models/parts.h"

namespace tern::models {

Definition define_nomic_bert(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);

    Value x = encoder_input(d, eps);
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        const auto [q, k, v] = layer.qkv(x, Bias::optional);
        Value h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), sees_all(d));
        layer.keep_outputs(h, x);
        x = add_and_norm(layer, g, x, layer.attention_output(h, Bias::optional), "attn_output_norm", eps);
        x = add_and_norm(layer, g, x, layer.gated(x, Activation::silu, inner, Bias::optional), "layer_output_norm",
                         eps);
    }
    g.set_logits(x);
    return std::move(d.model);
}

}  // namespace tern::models
