// Qwen2 (Yang et al., arXiv:2407.10671): Llama with rotary pairs of halves and biases on queries, keys and values.
#include "models/parts.h"

namespace tern::models {

Definition define_qwen2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::required);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h));
        x = g.add(x, layer.gated(layer.rms_norm(x, "ffn_norm", eps), Activation::silu, inner));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
