// Phi-3 (Abdin et al., arXiv:2404.14219): Llama with rotary pairs of halves, one matrix for queries, keys and values and
// one for gate and input. Models for long contexts have LongRoPE's two sets of factors (Ding et al., arXiv:2402.13753).
#include "models/parts.h"

namespace tern::models {

Definition define_phi3(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t n_rot = d.rotated();
    const std::uint32_t rope = g.add_rope(make_rope(in, {.n_rot = n_rot,
                                                         .mode = RopeMode::halves,
                                                         .factors = in.optional_vector("rope_factors_short.weight", n_rot / 2),
                                                         .long_factors = in.optional_vector("rope_factors_long.weight", n_rot / 2)}));
    // Phi-3-mini was trained with a window of 2,047; files give it or 0, for none.
    const std::uint32_t window = in.u32_or("attention.sliding_window", 0, 0, 1u << 30);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::none);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                        {.scale = d.score_scale(), .visibility = {.window = window}});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h));
        x = g.add(x, layer.gated_fused(layer.rms_norm(x, "ffn_norm", eps), Activation::silu, inner));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
