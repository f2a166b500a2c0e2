// OLMo 2 (OLMo Team, arXiv:2501.00656): norms behind attention and feed-forward part instead of before them, and norms of
// all queries and all keys together. OLMo 3 adds sliding windows, in whose layers the angles are not scaled.
#include "models/parts.h"

namespace tern::models {

Definition define_olmo2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t n_rot = d.rotated();
    const std::uint32_t far = d.add_rope(RopeMode::halves);
    const bool slides = in.has("attention.sliding_window");
    const std::vector<std::uint32_t> windows = slides ? d.windows(4) : std::vector<std::uint32_t>(d.m.layers, 0);
    const std::uint32_t near =
        slides ? g.add_rope(make_rope(in, {.n_rot = n_rot, .mode = RopeMode::halves, .scaled = false})) : far;

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        const std::uint32_t rope = windows[i] ? near : far;
        auto [q, k, v] = layer.qkv(x, Bias::none);
        q = g.rope(layer.rms_norm(q, "attn_q_norm", eps), d.m.heads, rope);
        k = g.rope(layer.rms_norm(k, "attn_k_norm", eps), d.m.kv_heads, rope);
        Value h = g.attention(q, k, v, d.heads(), {.scale = d.score_scale(), .visibility = {.window = windows[i]}});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.rms_norm(layer.attention_output(h), "post_attention_norm", eps));
        x = g.add(x, layer.rms_norm(layer.gated(x, Activation::silu, inner), "post_ffw_norm", eps));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
