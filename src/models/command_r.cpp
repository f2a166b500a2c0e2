// Command R (Cohere, 2024) and Command R7B (Cohere2; arXiv:2504.00698): attention and feed-forward part side by side behind a
// LayerNorm without bias, one matrix for embedding and output, scaled logits. Command R+ norms queries and keys by head.
// Cohere2 has three layers with a sliding window for each that sees all, and positions only in those with a window.
#include "models/parts.h"

namespace tern::models {

Definition define_command_r(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::adjacent);
    const bool second = in.architecture() == "cohere2";
    const std::vector<std::uint32_t> windows = second ? d.windows(4) : std::vector<std::uint32_t>(d.m.layers, 0);
    const float logit_scale = in.f32("logit_scale", 1e-6f, 1e6f);
    const bool head_norms = d.layer(0).has("attn_q_norm");

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value normal = layer.layer_norm(x, "attn_norm", eps, Bias::none);
        auto [q, k, v] = layer.qkv(normal, Bias::none);
        if (head_norms) {
            q = g.layer_norm(q, layer.vectors("attn_q_norm", d.m.heads, d.m.k_dim), {}, eps, d.m.heads);
            k = g.layer_norm(k, layer.vectors("attn_k_norm", d.m.kv_heads, d.m.k_dim), {}, eps, d.m.kv_heads);
        }
        if (!second || windows[i]) {
            q = g.rope(q, d.m.heads, rope);
            k = g.rope(k, d.m.kv_heads, rope);
        }
        Value h = g.attention(q, k, v, d.heads(), {.scale = d.score_scale(), .visibility = {.window = windows[i]}});
        layer.keep_outputs(h, x, normal);
        x = g.add(g.add(layer.gated(normal, Activation::silu, inner), x), layer.attention_output(h));
    }
    g.set_logits(g.scale(g.linear(d.output_layer_norm(x, eps, Bias::none), d.embedding), logit_scale));
    return std::move(d.model);
}

}  // namespace tern::models
