// Granite 3 (IBM, 2024) and its mixture of experts, and MiniCPM (Hu et al., arXiv:2404.06395): Llama with the multipliers of
// maximal update parametrisation (Yang et al., arXiv:2203.03466) on embeddings, residual branches, scores and logits.
#include <cmath>

#include "models/parts.h"

namespace tern::models {
namespace {

struct Multipliers {
    float embedding, residual, logits;
};

Definition define(Loader& in, const Multipliers& by) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t n_rot = d.rotated();
    const Weight freqs = in.optional_vector("rope_freqs.weight", n_rot / 2);
    const std::uint32_t rope = g.add_rope(make_rope(
        in, {.n_rot = n_rot,
             .mode = RopeMode::adjacent,
             .factors = freqs ? freqs : in.optional_vector("rope_factors_short.weight", n_rot / 2),
             .long_factors = freqs ? Weight{} : in.optional_vector("rope_factors_long.weight", n_rot / 2)}));
    const std::uint32_t n_experts = in.u32_or("expert_count", 0, 0, 4096);
    const std::uint32_t used = n_experts ? in.u32("expert_used_count", 1, n_experts) : 0;
    const std::uint32_t shared = in.u32_or("expert_shared_feed_forward_length", 0, 0, 1u << 24);

    Value x = g.scale(d.embed(), by.embedding);
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, Bias::optional);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(), {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, g.scale(layer.attention_output(h, Bias::optional), by.residual));

        h = layer.rms_norm(x, "ffn_norm", eps);
        Value y;
        if (n_experts == 0) {
            y = layer.gated(h, Activation::silu, inner, Bias::optional);
        } else {
            y = layer.experts(h, Activation::silu, inner, n_experts, {.used = used, .normalise = true});
            if (shared) y = g.add(y, layer.shared_expert(h, Activation::silu, shared));
        }
        x = g.add(x, g.scale(y, by.residual));
    }
    g.set_logits(g.scale(g.linear(d.output_rms_norm(x, eps), d.output()), by.logits));
    return std::move(d.model);
}

constexpr float kMin = 1e-6f, kMax = 1e6f;

}  // namespace

Definition define_granite(Loader& in) {
    return define(in, {.embedding = in.f32_or("embedding_scale", 1.0f, kMin, kMax),
                       .residual = in.f32_or("residual_scale", 1.0f, kMin, kMax),
                       .logits = 1.0f / in.f32("logit_scale", kMin, kMax)});
}

// The paper's table 7 gives what files of the first models do not say: 12, 1.4 / sqrt(layers), and a base width of 256.
Definition define_minicpm(Loader& in) {
    const float layers = static_cast<float>(in.u32("block_count", 1, 1u << 20)),
                width = static_cast<float>(in.u32("embedding_length", 1, 1u << 20));
    return define(in, {.embedding = in.f32_or("embedding_scale", 12.0f, kMin, kMax),
                       .residual = in.f32_or("residual_scale", 1.4f / std::sqrt(layers), kMin, kMax),
                       .logits = 1.0f / in.f32_or("logit_scale", width / 256.0f, kMin, kMax)});
}

}  // namespace tern::models
