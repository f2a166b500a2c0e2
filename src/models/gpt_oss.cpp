// gpt-oss (OpenAI, arXiv:2508.10925): every other layer with a sliding window, a learned sink per head, YaRN, and experts
// with biases whose gate and input are clamped; weights are the softmax of the chosen logits.
#include "models/parts.h"

namespace tern::models {

Definition define_gpt_oss(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);
    const std::vector<std::uint32_t> windows = d.windows(2);
    const std::uint32_t n_experts = in.u32("expert_count", 1, 4096), used = in.u32("expert_used_count", 1, n_experts);
    const std::uint32_t inner = in.u32("expert_feed_forward_length", 1, 1u << 24);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::required);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                        {.scale = d.score_scale(),
                         .visibility = {.window = windows[i]},
                         .sinks = layer.vector("attn_sinks", d.m.heads)});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h, Bias::required));
        h = layer.rms_norm(x, "post_attention_norm", eps);
        x = g.add(x, layer.experts(h, Activation::clamped_silu, inner, n_experts,
                                   {.used = used, .score = graph::RouteScore::softmax_chosen}, Bias::required));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
