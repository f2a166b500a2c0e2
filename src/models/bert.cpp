// BERT (Devlin et al., arXiv:1810.04805) and the models trained on from it: learned positions, norms behind the sums,
// GELU. With pooling "rank" a head on the first token's vector gives the scores (RoBERTa's: dense, tanh, projection).
#include "models/parts.h"

namespace tern::models {

Definition define_bert(Loader& in) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();

    Value x = encoder_input(d, eps, g.embed(in.table("position_embd.weight", d.m.width), graph::Lookup::position));
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        const auto [q, k, v] = layer.qkv(x, Bias::optional);
        Value h = g.attention(q, k, v, d.heads(), sees_all(d));
        layer.keep_outputs(h, x);
        x = add_and_norm(layer, g, x, layer.attention_output(h, Bias::optional), "attn_output_norm", eps);
        x = add_and_norm(layer, g, x, layer.mlp(x, Activation::gelu_erf, inner, Bias::optional), "layer_output_norm",
                         eps);
    }
    const bool has_dense = in.has_tensor("cls.weight"), has_scores = in.has_tensor("cls.output.weight");
    Value scores = x;
    if (has_dense) {
        const Weight dense = in.matrix("cls.weight", d.m.width, d.m.width);
        scores = g.linear(scores, dense, in.optional_vector("cls.bias", d.m.width));
        scores = g.softcap(scores, 1.0f);  // tanh
    }
    if (has_scores) {
        const Weight w = in.table("cls.output.weight", d.m.width);
        scores = g.linear(scores, w, in.optional_vector("cls.output.bias", w.rows));
    }
    const bool ranks = pooling_of(in, Pooling::mean) == Pooling::rank;
    if (ranks && !has_dense && !has_scores)
        in.fail("key 'bert.pooling_type' is 4 (rank), but there is neither cls.weight nor cls.output.weight");
    g.set_logits(ranks ? scores : x);
    return std::move(d.model);
}

}  // namespace tern::models
