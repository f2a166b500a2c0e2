// SmolLM3 (Hugging Face, 2025, huggingface.co/blog/smollm3): Llama in which every fourth layer has no positions at all
// (NoPE; Yang et al., arXiv:2501.18795).
#include "models/parts.h"

namespace tern::models {

Definition define_smollm3(Loader& in) {
    constexpr std::uint32_t kNoPositions = 4;
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::adjacent);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        auto [q, k, v] = layer.qkv(h, Bias::none);
        if ((i + 1) % kNoPositions != 0) {
            q = g.rope(q, d.m.heads, rope);
            k = g.rope(k, d.m.kv_heads, rope);
        }
        h = g.attention(q, k, v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h));
        x = g.add(x, layer.gated(layer.rms_norm(x, "ffn_norm", eps), Activation::silu, inner));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
