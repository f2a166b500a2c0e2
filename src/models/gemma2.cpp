// Gemma 2 (Gemma Team, arXiv:2408.00118): Gemma with norms behind attention and feed-forward part as well, every other
// layer with a sliding window, and softcaps on scores and logits.
#include <cmath>

#include "models/parts.h"

namespace tern::models {

Definition define_gemma2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);
    const std::vector<std::uint32_t> windows = d.windows(2);
    const float softcap = in.f32_or("attn_logit_softcapping", 50.0f, 1e-3f, 1e6f);
    const float final_softcap = in.f32_or("final_logit_softcapping", 30.0f, 1e-3f, 1e6f);
    // The 27B model alone divides by the width per head, which its heads have not.
    const float scale = 1.0f / std::sqrt(static_cast<float>(d.m.layers == 46 ? d.m.width / d.m.heads : d.m.k_dim));

    Value x = g.scale(d.embed(), std::sqrt(static_cast<float>(d.m.width)));
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::none);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                        {.scale = scale, .visibility = {.window = windows[i]}, .softcap = softcap});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.rms_norm(layer.attention_output(h), "post_attention_norm", eps));
        h = layer.gated(layer.rms_norm(x, "ffn_norm", eps), Activation::gelu, inner);
        x = g.add(x, layer.rms_norm(h, "post_ffw_norm", eps));
    }
    g.set_logits(g.softcap(g.linear(d.output_rms_norm(x, eps), d.embedding), final_softcap));
    return std::move(d.model);
}

}  // namespace tern::models
