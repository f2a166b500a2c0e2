// Random weights of known shapes, for measuring speed and memory: scales near those of real models, quants uniform.
#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "models/model_impl.h"

namespace tern::models {
namespace {

struct Shape {
    const char* name;
    std::uint32_t layers, width, heads, kv_heads, head_dim, ff, vocab;
    float rope_base;
    bool tied;
    std::uint32_t experts = 0, experts_used = 0;
};
constexpr Shape kShapes[] = {
    {"llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256, 500000.0f, true},
    {"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, 500000.0f, false},
    {"tiny-110m", 12, 768, 12, 12, 64, 2048, 32000, 10000.0f, false},
    {"stories260k", 5, 64, 8, 4, 8, 172, 512, 10000.0f, true},
    // The proportions of gpt-oss-20b (arXiv:2508.10925) in the operations of Mixtral, with fewer layers and words.
    {"moe-32x", 4, 2880, 64, 8, 64, 2880, 32000, 150000.0f, false, 32, 4},
};

// Which format a matrix of layer i of n gets.
using Choice = DType (*)(std::uint32_t i, std::uint32_t n);
template <DType format>
DType always(std::uint32_t, std::uint32_t) {
    return format;
}
// The layers at both ends and every third between them, as files of the mixtures with an M have it.
bool more_bits(std::uint32_t i, std::uint32_t n) { return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2; }
template <DType base, DType better>
DType some(std::uint32_t i, std::uint32_t n) {
    return more_bits(i, n) ? better : base;
}

// The mixtures as published files of dense models have them. What is not named has the base format.
struct Mixture {
    const char* name;
    DType base;
    DType output;  // and the embedding where it serves as the output
    Choice value, attention_output, down;
    DType experts;  // gate and up
};
constexpr Mixture kMixtures[] = {
    {"Q3_K_S", DType::Q3_K, DType::Q6_K, always<DType::Q3_K>, always<DType::Q3_K>, always<DType::Q3_K>, DType::Q3_K},
    {"Q3_K_M", DType::Q3_K, DType::Q6_K, [](std::uint32_t i, std::uint32_t) { return i < 2 ? DType::Q5_K : DType::Q4_K; },
     always<DType::Q4_K>,
     [](std::uint32_t i, std::uint32_t n) {
         return i < n / 16 ? DType::Q5_K : more_bits(i, n) ? DType::Q4_K : DType::Q3_K;
     },
     DType::Q3_K},
    {"Q3_K_L", DType::Q3_K, DType::Q6_K, always<DType::Q5_K>, always<DType::Q5_K>, always<DType::Q5_K>, DType::Q3_K},
    {"Q4_K_S", DType::Q4_K, DType::Q6_K, [](std::uint32_t i, std::uint32_t) { return i < 4 ? DType::Q5_K : DType::Q4_K; },
     always<DType::Q4_K>, [](std::uint32_t i, std::uint32_t n) { return i < n / 8 ? DType::Q5_K : DType::Q4_K; },
     DType::Q4_K},
    {"Q4_K_M", DType::Q4_K, DType::Q6_K, some<DType::Q4_K, DType::Q6_K>, always<DType::Q4_K>,
     some<DType::Q4_K, DType::Q6_K>, DType::Q4_K},
    {"Q5_K_S", DType::Q5_K, DType::Q6_K, always<DType::Q5_K>, always<DType::Q5_K>, always<DType::Q5_K>, DType::Q5_K},
    {"Q5_K_M", DType::Q5_K, DType::Q6_K, some<DType::Q5_K, DType::Q6_K>, always<DType::Q5_K>,
     some<DType::Q5_K, DType::Q6_K>, DType::Q5_K},
    {"MXFP4_MOE", DType::Q8_0, DType::Q8_0, always<DType::Q8_0>, always<DType::Q8_0>, always<DType::MXFP4>, DType::MXFP4},
};

// The format itself, or what files have in its place where rows are no multiple of its blocks.
DType fitting(DType format, std::uint64_t cols) {
    if (cols % info(format).block == 0) return format;
    if (cols % 32 != 0) return DType::F16;
    switch (format) {
        case DType::Q4_K: return DType::Q5_0;
        case DType::Q5_K: return DType::Q5_1;
        case DType::Q6_K: return DType::Q8_0;
        default: return DType::IQ4_NL;
    }
}

// Where a block keeps its f16 scales, and a value that gives weights of a usual size. Without this random bytes
// would be infinities and denormals.
struct Scale {
    DType dtype;
    int offset[2];
    float value[2];
};
constexpr Scale kScales[] = {
    {DType::Q4_0, {0, -1}, {0.005f, 0}},      {DType::Q4_1, {0, 2}, {0.003f, -0.02f}},
    {DType::Q5_0, {0, -1}, {0.0025f, 0}},     {DType::Q5_1, {0, 2}, {0.0015f, -0.02f}},
    {DType::Q8_0, {0, -1}, {0.0003f, 0}},     {DType::Q2_K, {80, 82}, {0.002f, 0.003f}},
    {DType::Q3_K, {108, -1}, {0.0005f, 0}},   {DType::Q4_K, {0, 2}, {0.0002f, 0.0015f}},
    {DType::Q5_K, {0, 2}, {0.0001f, 0.0015f}}, {DType::Q6_K, {208, -1}, {0.00002f, 0}},
    {DType::IQ4_NL, {0, -1}, {0.0003f, 0}},   {DType::IQ4_XS, {0, -1}, {0.00002f, 0}},
    {DType::IQ3_S, {0, -1}, {0.00005f, 0}},   {DType::IQ3_XXS, {0, -1}, {0.0002f, 0}},
    {DType::IQ2_XXS, {0, -1}, {0.0003f, 0}},  {DType::IQ2_XS, {0, -1}, {0.0003f, 0}},
    {DType::IQ2_S, {0, -1}, {0.0003f, 0}},    {DType::IQ1_S, {0, -1}, {0.003f, 0}},
    {DType::TQ1_0, {52, -1}, {0.02f, 0}},     {DType::TQ2_0, {64, -1}, {0.02f, 0}},
};

// splitmix64 (Steele, Lea and Flood, 2014).
struct Random {
    std::uint64_t state;
    std::uint64_t next() noexcept {
        std::uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
};

std::uint16_t f16_bits(float value) {  // normal numbers only
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits >> 16 & 0x8000) | (((bits >> 23 & 0xff) - 112) << 10 | (bits >> 13 & 0x3ff)));
}

void fill(std::byte* data, DType dtype, std::uint64_t elements, Random& random) {
    const std::uint64_t bytes = row_bytes(dtype, elements);
    // Uniform in (-0.02, 0.02) where the elements are floats.
    const auto uniform = [&] { return (static_cast<float>(random.next() >> 40) / 8388608.0f - 1.0f) * 0.02f; };
    if (dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16) {
        for (std::uint64_t i = 0; i < elements; ++i) {
            const float x = uniform();
            if (dtype == DType::F32) {
                std::memcpy(data + i * 4, &x, 4);
            } else {
                const bool tiny = x > -1e-4f && x < 1e-4f;
                const std::uint16_t h = dtype == DType::BF16
                                            ? static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16)
                                            : tiny ? std::uint16_t{0} : f16_bits(x);
                std::memcpy(data + i * 2, &h, 2);
            }
        }
        return;
    }
    for (std::uint64_t at = 0; at < bytes; at += 8) {
        const std::uint64_t word = random.next();
        std::memcpy(data + at, &word, std::min<std::uint64_t>(8, bytes - at));
    }
    const std::uint64_t block = info(dtype).block_bytes;
    for (const Scale& s : kScales)
        if (s.dtype == dtype)
            for (std::uint64_t at = 0; at < bytes; at += block)
                for (int i = 0; i < 2; ++i)
                    if (s.offset[i] >= 0) {
                        const std::uint16_t h = f16_bits(s.value[i]);
                        std::memcpy(data + at + static_cast<std::uint64_t>(s.offset[i]), &h, 2);
                    }
    if (dtype == DType::MXFP4)
        for (std::uint64_t at = 0; at < bytes; at += block) data[at] = std::byte{120};
    if (dtype == DType::IQ1_M) {  // the scale is cut into four pieces (kernels/formats/iq1_m.h)
        const std::uint16_t h = f16_bits(0.003f);
        for (std::uint64_t at = 0; at < bytes; at += block)
            for (unsigned i = 0; i < 4; ++i) {
                std::byte& high = data[at + 49 + 2 * i];
                high = (high & std::byte{0x0f}) | static_cast<std::byte>((h >> (4 * i) & 0xf) << 4);
            }
    }
}

}  // namespace

RandomPlan plan_random(const RandomModel& spec) {
    const Shape* shape = nullptr;
    std::string shapes;
    for (const Shape& s : kShapes) {
        if (spec.shape == s.name) shape = &s;
        shapes += fmt::format("{}{}", shapes.empty() ? "" : ", ", s.name);
    }
    if (!shape)
        throw Error(ErrorCode::invalid_argument, fmt::format("unknown shape '{}'; known: {}", spec.shape, shapes));
    const Mixture* mixture = nullptr;
    std::string mixtures;
    for (const Mixture& m : kMixtures) {
        if (spec.format == m.name) mixture = &m;
        mixtures += fmt::format("{}{}", mixtures.empty() ? "" : ", ", m.name);
    }
    const std::optional<DType> pure = dtype_from_name(spec.format);
    if (!mixture && (!pure || *pure == DType::Q8_K))
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("no random weights in format '{}'; use a format such as Q8_0 or one of the mixtures {}",
                                spec.format, mixtures));

    gguf::Writer meta;
    const auto key = [](const char* name) { return fmt::format("llama.{}", name); };
    meta.add_string("general.architecture", "llama");
    meta.add_string("general.name", fmt::format("random {} {}", spec.shape, spec.format));
    meta.add_u32(key("block_count"), shape->layers);
    meta.add_u32(key("context_length"), 131072);
    meta.add_u32(key("embedding_length"), shape->width);
    meta.add_u32(key("feed_forward_length"), shape->ff);
    meta.add_u32(key("attention.head_count"), shape->heads);
    meta.add_u32(key("attention.head_count_kv"), shape->kv_heads);
    if (shape->width != shape->heads * shape->head_dim) {
        meta.add_u32(key("attention.key_length"), shape->head_dim);
        meta.add_u32(key("attention.value_length"), shape->head_dim);
    }
    meta.add_u32(key("rope.dimension_count"), shape->head_dim);
    meta.add_u32(key("vocab_size"), shape->vocab);
    if (shape->experts) {
        meta.add_u32(key("expert_count"), shape->experts);
        meta.add_u32(key("expert_used_count"), shape->experts_used);
    }
    meta.add_f32(key("rope.freq_base"), shape->rope_base);
    meta.add_f32(key("attention.layer_norm_rms_epsilon"), 1e-5f);
    meta.add_string("tokenizer.ggml.model", "no_vocab");

    RandomPlan plan{meta.to_bytes(), {}};
    const std::uint64_t e = shape->width, q = std::uint64_t{shape->heads} * shape->head_dim,
                        kv = std::uint64_t{shape->kv_heads} * shape->head_dim, ff = shape->ff;
    const auto matrix = [&](std::string name, DType format, std::uint64_t cols, std::uint64_t rows, std::uint64_t slabs = 1) {
        plan.tensors.push_back({std::move(name), fitting(format, cols), {cols, rows, slabs}, false});
    };
    const auto ones = [&](std::string name) { plan.tensors.push_back({std::move(name), DType::F32, {e, 1, 1}, true}); };
    const DType base = mixture ? mixture->base : *pure, output = mixture ? mixture->output : *pure;
    matrix("token_embd.weight", shape->tied ? output : base, e, shape->vocab);
    ones("output_norm.weight");
    if (!shape->tied) matrix("output.weight", output, e, shape->vocab);
    for (std::uint32_t i = 0; i < shape->layers; ++i) {
        const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", i, part); };
        const auto chosen = [&](Choice Mixture::*choice) { return mixture ? (mixture->*choice)(i, shape->layers) : *pure; };
        ones(name("attn_norm"));
        matrix(name("attn_q"), base, e, q);
        matrix(name("attn_k"), base, e, kv);
        matrix(name("attn_v"), chosen(&Mixture::value), e, kv);
        matrix(name("attn_output"), chosen(&Mixture::attention_output), q, e);
        ones(name("ffn_norm"));
        const DType down = chosen(&Mixture::down);
        if (shape->experts) {
            const DType wide = mixture ? mixture->experts : *pure;
            matrix(name("ffn_gate_inp"), DType::F32, e, shape->experts);
            matrix(name("ffn_gate_exps"), wide, e, ff, shape->experts);
            matrix(name("ffn_up_exps"), wide, e, ff, shape->experts);
            matrix(name("ffn_down_exps"), down, ff, e, shape->experts);
        } else {
            matrix(name("ffn_gate"), base, e, ff);
            matrix(name("ffn_up"), base, e, ff);
            matrix(name("ffn_down"), down, ff, e);
        }
    }
    return plan;
}

RandomWeights make_random(const RandomModel& spec) {
    const RandomPlan plan = plan_random(spec);
    constexpr std::uint64_t kAlign = 64;
    const auto align = [](std::uint64_t n) { return (n + kAlign - 1) / kAlign * kAlign; };
    std::uint64_t total = align(plan.header.size());
    for (const RandomPlan::Tensor& p : plan.tensors) total += align(p.bytes());
    base::AlignedBuffer memory(total, "random weights");
    std::memcpy(memory.data(), plan.header.data(), plan.header.size());
    gguf::File file = gguf::File::parse({memory.data(), plan.header.size()}, "random weights");

    RandomWeights out{std::move(file), {}, {}, {}};
    Random random{spec.seed};
    std::uint64_t at = align(plan.header.size());
    out.names.reserve(plan.tensors.size());
    for (const RandomPlan::Tensor& p : plan.tensors) {
        gguf::Tensor t;
        out.names.push_back(p.name);
        t.name = out.names.back();
        t.dtype = p.dtype;
        t.rank = p.shape[2] > 1 ? 3 : p.shape[1] > 1 ? 2 : 1;
        std::copy(p.shape, p.shape + 3, t.shape);
        t.bytes = p.bytes();
        t.data = memory.data() + at;
        if (p.ones) {
            const float one = 1.0f;
            for (std::uint64_t i = 0; i < p.shape[0]; ++i) std::memcpy(memory.data() + at + 4 * i, &one, 4);
        } else {
            fill(memory.data() + at, p.dtype, t.elements(), random);
        }
        at += align(t.bytes);
        out.tensors.push_back(t);
    }
    out.memory = std::move(memory);
    return out;
}

}  // namespace tern::models
