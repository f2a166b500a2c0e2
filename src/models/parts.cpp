#include "models/parts.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "kernels/rope.h"

namespace tern::models {

Decoder::Decoder(Loader& loader) : in(loader) {
    m.layers = in.u32("block_count", 1, static_cast<std::uint32_t>(in.tensor_count()));
    m.width = in.u32("embedding_length", 1, 1u << 20);
    m.heads = in.u32("attention.head_count", 1, 1u << 14);
    m.kv_heads = in.u32_or("attention.head_count_kv", m.heads, 1, m.heads);
    const bool dims_given = in.has("attention.key_length") && in.has("attention.value_length");
    if (!dims_given && m.width % m.heads != 0)
        in.fail(fmt::format("key '{}' is {}, which does not divide the width of {}",
                            in.key("attention.head_count"), m.heads, m.width));
    if (m.heads % m.kv_heads != 0)
        in.fail(fmt::format("key '{}' is {}, which does not divide the {} query heads",
                            in.key("attention.head_count_kv"), m.kv_heads, m.heads));
    // Above the width only where it is given; so a head has at least one dimension.
    const std::uint32_t usual = std::max(1u, m.width / m.heads);
    m.k_dim = in.u32_or("attention.key_length", usual, 1, 1u << 14);
    m.v_dim = in.u32_or("attention.value_length", usual, 1, 1u << 14);
    m.context_length = in.u32("context_length", 1, 1u << 30);
    embedding = in.table("token_embd.weight", m.width);
    m.vocab_size = static_cast<std::uint32_t>(embedding.rows);
}

Layer Decoder::layer(std::uint32_t index) {
    return {*this, index};
}

float Decoder::score_scale() const {
    return in.f32_or("attention.scale", 1.0f / std::sqrt(static_cast<float>(m.k_dim)), 1e-6f, 1e3f);
}

// Above zero, so that a row of zeros stays finite.
float Decoder::rms_eps() const {
    return in.f32("attention.layer_norm_rms_epsilon", 1e-12f, 1.0f);
}
float Decoder::layer_eps() const {
    return in.f32("attention.layer_norm_epsilon", 1e-12f, 1.0f);
}

std::uint64_t Decoder::feed_forward() const {
    return in.u32("feed_forward_length", 1, 1u << 24);
}

std::uint32_t Decoder::rotated() const {
    const std::uint32_t n = in.u32_or("rope.dimension_count", m.k_dim, 2, m.k_dim);
    if (n % 2 != 0)
        in.fail(fmt::format("key '{}' (or the key length) is {}, which is odd",
                            in.key("rope.dimension_count"), n));
    return n;
}

std::uint32_t Decoder::add_rope(RopeMode mode) {
    const std::uint32_t n = rotated();
    return g.add_rope(
        make_rope(in, {.n_rot = n, .mode = mode, .factors = in.optional_vector("rope_freqs.weight", n / 2)}));
}

std::vector<std::uint32_t> Decoder::windows(std::uint32_t period) const {
    const std::uint32_t window = in.u32("attention.sliding_window", 1, 1u << 30);
    const std::vector<bool> slides = in.flags_or_period("attention.sliding_window_pattern", period, m.layers);
    std::vector<std::uint32_t> all;
    all.reserve(slides.size());
    for (const bool slide : slides) all.push_back(slide ? window : 0);
    return all;
}

Value Decoder::output_rms_norm(Value x, float eps) {
    return g.rms_norm(x, in.vector("output_norm.weight", m.width), eps);
}

Value Decoder::output_layer_norm(Value x, float eps, Bias bias) {
    const Weight b = bias == Bias::none       ? Weight{}
                     : bias == Bias::required ? in.vector("output_norm.bias", m.width)
                                              : in.optional_vector("output_norm.bias", m.width);
    return g.layer_norm(x, in.vector("output_norm.weight", m.width), b, eps);
}

Weight Decoder::output() {
    const Weight own = in.optional_matrix("output.weight", m.vocab_size, m.width);
    return own ? own : embedding;
}

std::string Layer::name(const char* part, const char* kind) const {
    return fmt::format("blk.{}.{}.{}", index_, part, kind);
}

Weight Layer::matrix(const char* part, std::uint64_t rows, std::uint64_t cols) const {
    return d_->in.matrix(name(part), rows, cols);
}

Weight Layer::vector(const char* part, std::uint64_t n) const {
    return d_->in.vector(name(part), n);
}

Weight Layer::vectors(const char* part, std::uint32_t heads, std::uint32_t n) const {
    Weight w = d_->in.f32_matrix(name(part), heads, n);
    w.cols *= w.rows;
    w.rows = 1;
    return w;
}

Weight Layer::expert_matrices(const char* part, std::uint64_t slabs, std::uint64_t rows,
                              std::uint64_t cols) const {
    return d_->in.experts(name(part), slabs, rows, cols);
}

Weight Layer::bias(const char* part, std::uint64_t n, Bias bias) const {
    if (bias == Bias::optional && d_->in.has_tensor(fmt::format("blk.0.{}.bias", part)))
        bias = Bias::required;
    return bias == Bias::required ? d_->in.vector(name(part, "bias"), n) : Weight{};
}

Value Layer::linear(Value x, const char* part, std::uint64_t rows, Bias with) const {
    return d_->g.linear(x, matrix(part, rows, d_->g.info(x).cols), bias(part, rows, with));
}

Value Layer::rms_norm(Value x, const char* part, float eps) const {
    return d_->g.rms_norm(x, vector(part, d_->g.info(x).cols), eps);
}

Value Layer::layer_norm(Value x, const char* part, float eps, Bias with) const {
    const std::uint64_t n = d_->g.info(x).cols;
    return d_->g.layer_norm(x, vector(part, n), bias(part, n, with), eps);
}

Value Layer::head_norm(Value x, const char* part, std::uint32_t heads, float eps) const {
    return d_->g.rms_norm(x, vector(part, d_->g.info(x).cols / heads), eps, heads);
}

Layer::QKV Layer::qkv(Value x, Bias with) const {
    const ModelInfo& m = d_->m;
    const std::uint64_t q = std::uint64_t{m.heads} * m.k_dim, k = std::uint64_t{m.kv_heads} * m.k_dim,
                        v = std::uint64_t{m.kv_heads} * m.v_dim;
    if (!has("attn_qkv"))
        return {linear(x, "attn_q", q, with), linear(x, "attn_k", k, with), linear(x, "attn_v", v, with)};
    const Weight w = matrix("attn_qkv", q + k + v, m.width), b = bias("attn_qkv", q + k + v, with);
    const auto part = [&](std::uint64_t first, std::uint64_t rows) {
        return d_->g.linear(x, rows_of(w, first, rows), elements_of(b, first, rows));
    };
    return {part(0, q), part(q, k), part(q + k, v)};
}

Value Layer::attention_output(Value x, Bias with) const {
    return linear(x, "attn_output", d_->m.width, with);
}

Value Layer::gated_parts(Value x, Activation kind, const char* gate, const char* up, const char* down,
                         std::uint64_t inner, Bias with) const {
    const Value a = linear(x, gate, inner, with), b = linear(x, up, inner, with);
    return linear(d_->g.gated(kind, a, b), down, d_->m.width, with);
}

Value Layer::gated(Value x, Activation kind, std::uint64_t inner, Bias with) const {
    return gated_parts(x, kind, "ffn_gate", "ffn_up", "ffn_down", inner, with);
}

Value Layer::gated_fused(Value x, Activation kind, std::uint64_t inner, Bias down) const {
    const Weight w = matrix("ffn_up", 2 * inner, d_->g.info(x).cols);
    const Value gate = d_->g.linear(x, rows_of(w, 0, inner)), up = d_->g.linear(x, rows_of(w, inner, inner));
    return linear(d_->g.gated(kind, gate, up), "ffn_down", d_->m.width, down);
}

Value Layer::mlp(Value x, Activation kind, std::uint64_t inner, Bias with) const {
    return linear(d_->g.activate(kind, linear(x, "ffn_up", inner, with)), "ffn_down", d_->m.width, with);
}

Value Layer::experts(Value x, Activation kind, std::uint64_t inner, std::uint32_t count,
                     const graph::Routing& options, Bias with) const {
    graph::Graph& g = d_->g;
    const std::uint64_t width = d_->m.width;
    const auto biases = [&](const char* part, std::uint64_t n) {
        return with == Bias::none ? Weight{} : d_->in.f32_matrix(name(part, "bias"), count, n);
    };
    const Value routing = g.route(linear(x, "ffn_gate_inp", count, with), options);
    const Value rows = g.gather_experts(x, routing);
    const auto product = [&](Value in, const char* part, std::uint64_t out, std::uint64_t cols) {
        return g.linear_experts(in, routing, expert_matrices(part, count, out, cols), biases(part, out));
    };
    const Value gate = product(rows, "ffn_gate_exps", inner, width),
                up = product(rows, "ffn_up_exps", inner, width);
    return g.combine_experts(product(g.gated(kind, gate, up), "ffn_down_exps", width, inner), routing);
}

Value Layer::shared_expert(Value x, Activation kind, std::uint64_t inner) const {
    return gated_parts(x, kind, "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp", inner, Bias::none);
}

Value encoder_input(Decoder& d, float eps, Value further) {
    if (d.in.bool_or("attention.causal", false))
        d.in.fail(fmt::format("key '{}' is true; an encoder's tokens see the whole text", d.in.key("attention.causal")));
    Value x = d.embed();
    if (d.in.has_tensor("token_types.weight"))
        x = d.g.add(x, d.g.embed(d.in.table("token_types.weight", d.m.width), graph::Lookup::first));
    if (further) x = d.g.add(x, further);
    return d.g.layer_norm(x, d.in.vector("token_embd_norm.weight", d.m.width),
                          d.in.optional_vector("token_embd_norm.bias", d.m.width), eps);
}

Value add_and_norm(const Layer& layer, graph::Graph& g, Value x, Value h, const char* norm, float eps) {
    return layer.layer_norm(g.add(x, h), norm, eps, Bias::optional);
}

graph::AttentionOptions sees_all(const Decoder& d) {
    return {.scale = d.score_scale(), .visibility = {.causal = false}};
}

Pooling pooling_of(const Loader& loader, Pooling fallback) {
    constexpr Pooling kByNumber[] = {Pooling::mean, Pooling::cls, Pooling::last, Pooling::rank};
    const std::uint32_t type = loader.u32_or("pooling_type", 0, 0, 4);
    return type == 0 ? fallback : kByNumber[type - 1];
}

Weight rows_of(const Weight& w, std::uint64_t first, std::uint64_t count) {
    Weight part = w;
    part.data = static_cast<const std::byte*>(w.data) + first * w.row_bytes();
    part.rows = count;
    return part;
}

Weight elements_of(const Weight& w, std::uint64_t first, std::uint64_t count) {
    if (!w) return {};
    Weight part = w;
    part.data = w.f32() + first;
    part.cols = count;
    return part;
}

std::vector<float> alibi_slopes(std::uint32_t heads, float max_bias) {
    const std::uint32_t power = std::bit_floor(heads);
    const double ln2 = kernels::natural_log(2.0),
                 each = static_cast<double>(max_bias) / static_cast<double>(power);
    std::vector<float> slopes;
    for (std::uint32_t h = 0; h < heads; ++h) {
        const double exponent = h < power ? each * static_cast<double>(h + 1)
                                          : each / 2 * static_cast<double>(2 * (h - power) + 1);
        slopes.push_back(static_cast<float>(kernels::natural_exp(-exponent * ln2)));
    }
    return slopes;
}

Definition rms_norm_decoder(Loader& in, RopeMode mode, Bias qkv) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.rms_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(mode);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.rms_norm(x, "attn_norm", eps);
        const auto [q, k, v] = layer.qkv(h, qkv);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                        {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h));
        x = g.add(x, layer.gated(layer.rms_norm(x, "ffn_norm", eps), Activation::silu, inner));
    }
    g.set_logits(g.linear(d.output_rms_norm(x, eps), d.output()));
    return std::move(d.model);
}

Definition layer_norm_decoder(Loader& in, Activation activation, Bias bias) {
    Decoder d(in);
    graph::Graph& g = d.g;
    const float eps = d.layer_eps();
    const std::uint64_t inner = d.feed_forward();
    const std::uint32_t rope = d.add_rope(RopeMode::halves);

    Value x = d.embed();
    for (std::uint32_t i = 0; i < d.m.layers; ++i) {
        const Layer layer = d.layer(i);
        Value h = layer.layer_norm(x, "attn_norm", eps, Bias::required);
        const auto [q, k, v] = layer.qkv(h, bias);
        h = g.attention(g.rope(q, d.m.heads, rope), g.rope(k, d.m.kv_heads, rope), v, d.heads(),
                        {.scale = d.score_scale()});
        layer.keep_outputs(h, x);
        x = g.add(x, layer.attention_output(h, bias));
        h = layer.layer_norm(x, "ffn_norm", eps, Bias::required);
        x = g.add(x, layer.mlp(h, activation, inner, bias));
    }
    g.set_logits(g.linear(d.output_layer_norm(x, eps, Bias::required), d.output()));
    return std::move(d.model);
}

}  // namespace tern::models
