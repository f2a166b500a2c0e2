// MPT (MosaicML, 2023): LayerNorm without biases, GELU, and ALiBi (Press, Smith and Lewis, arXiv:2108.12409) in the place of
// positions.
#include <fmt/format.h>
#include <tern/error.h>

#include "models/parts.h"

namespace tern::models {

Definition define_mpt(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    graph::AttentionOptions options;
    options.scale = d.score_scale();
    options.slopes = alibi_slopes(d.m.heads, in.f32("attention.max_alibi_bias", 1e-3f, 1e3f));
    if (in.f32_or("attention.clamp_kqv", 0.0f, 0.0f, 1e6f) > 0)
        throw Error(ErrorCode::unsupported,
                    fmt::format("{}: key '{}': this version of Tern has no clamped queries, keys and values; models of the "
                                "family without it run",
                                in.file().name(), in.key("attention.clamp_kqv")));

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.layer_norm(x, "attn_norm", eps, Bias::optional);
        const auto [q, k, v] = layer.qkv(h, Bias::optional);
        h = g.attention(q, k, v, d.heads(), options);
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h, Bias::optional));
        h = layer.layer_norm(x, "ffn_norm", eps, Bias::optional);
        x = g.add(x, layer.mlp(h, Activation::gelu, inner, Bias::optional));
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::optional), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
