// Gemma 3 (Gemma Team, arXiv:2503.19786): five layers with a sliding window, whose angles have a base of their own and are
// not scaled, for each that sees all; norms of queries and keys instead of softcaps.
#include <cmath>

#include "models/parts.h"

namespace tern::models {

Definition define_gemma3(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t n_rot = d.rotated();
    const std::uint32_t far = d.add_rope(RopeMode::halves);
    const std::uint32_t near = g.add_rope(
        make_rope(in, {.n_rot = n_rot, .mode = RopeMode::halves, .base_key = "rope.freq_base_swa", .scaled = false}));
    const std::vector<std::uint32_t> windows = d.windows(6);
    const float softcap = in.f32_or("final_logit_softcapping", 0.0f, 0.0f, 1e6f);
    // The 27B model alone divides by the width per head, which its heads have not.
    const float scale = 1.0f / std::sqrt(static_cast<float>(d.m.layers == 62 ? d.m.width / d.m.heads : d.m.k_dim));

    Value x = g.scale(d.embed(), std::sqrt(static_cast<float>(d.m.width)));
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        const std::uint32_t rope = windows[i] ? near : far;
        Value h = layer.rms_norm(x, "attn_norm", eps);
        auto [q, k, v] = layer.qkv(h, Bias::none);
        q = g.rope(layer.head_norm(q, "attn_q_norm", d.m.heads, eps), d.m.heads, rope);
        k = g.rope(layer.head_norm(k, "attn_k_norm", d.m.kv_heads, eps), d.m.kv_heads, rope);
        h = g.attention(q, k, v, d.heads(), {.scale = scale, .visibility = {.window = windows[i]}});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.rms_norm(layer.attention_output(h), "post_attention_norm", eps));
        h = layer.gated(layer.rms_norm(x, "ffn_norm", eps), Activation::gelu, inner);
        x = g.add(x, layer.rms_norm(h, "post_ffw_norm", eps));
    }
    x = g.linear(d.output_rms_norm(x, eps), d.output());
    g.set_logits(softcap > 0 ? g.softcap(x, softcap) : x);
    return std::move(d.model);
}

}  // namespace tern::models
