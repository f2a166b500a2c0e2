// Jina BERT v2 (Guenther et al., arXiv:2310.19923): BERT with ALiBi in both directions in place of positions, and
// GEGLU; the models for code norm queries and keys, and have a further norm behind the attention.
#include "models/parts.h"

namespace tern::models {

Definition define_jina_bert_v2(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    graph::AttentionOptions attention = sees_all(d);
    attention.slopes = alibi_slopes(d.m.heads, 8.0f);

    Value x = encoder_input(d, eps);
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        auto [q, k, v] = layer.qkv(x, Bias::optional);
        if (layer.has("attn_q_norm")) q = layer.layer_norm(q, "attn_q_norm", eps, Bias::optional);
        if (layer.has("attn_k_norm")) k = layer.layer_norm(k, "attn_k_norm", eps, Bias::optional);
        Value h = g.attention(q, k, v, d.heads(), attention);
        layer.keep_outputs(h, x);
        h = add_and_norm(layer, g, x, layer.attention_output(h, Bias::optional), "attn_output_norm", eps);
        if (layer.has("attn_norm_2")) h = add_and_norm(layer, g, x, h, "attn_norm_2", eps);
        const Value inside = layer.has("ffn_gate") ? layer.gated(h, Activation::gelu_erf, inner, Bias::optional)
                                                   : layer.gated_fused(h, Activation::gelu_erf, inner, Bias::optional);
        x = add_and_norm(layer, g, h, inside, "layer_output_norm", eps);
    }
    g.set_logits(x);
    return std::move(d.model);
}

}  // namespace tern::models
