// Random weights of known shapes, for measuring speed and memory: scales near those of real models, quants uniform.
#include <fmt/format.h>
#include <tern/error.h>

#include <bit>
#include <cstring>

#include "models/model_impl.h"

namespace tern::models {
namespace {

struct Shape {
    const char* name;
    std::uint32_t layers, width, heads, kv_heads, head_dim, ff, vocab;
    float rope_base;
    bool tied;
};
constexpr Shape kShapes[] = {
    {"llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256, 500000.0f, true},
    {"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, 500000.0f, false},
    {"tiny-110m", 12, 768, 12, 12, 64, 2048, 32000, 10000.0f, false},
};

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
}

}  // namespace

RandomWeights make_random(const RandomModel& spec) {
    const Shape* shape = nullptr;
    std::string known;
    for (const Shape& s : kShapes) {
        if (spec.shape == s.name) shape = &s;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", s.name);
    }
    if (!shape)
        throw Error(ErrorCode::invalid_argument, fmt::format("unknown shape '{}'; known: {}", spec.shape, known));
    // Q4_K_M: Q6_K for the output and for half of the value and down matrices; Q4_K otherwise.
    const bool mixture = spec.format == "Q4_K_M";
    const std::optional<DType> format = dtype_from_name(mixture ? "Q4_K" : spec.format);
    if (!format || *format == DType::Q8_K || *format == DType::IQ1_M)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("no random weights in format '{}'; use Q4_K_M or a format such as Q8_0", spec.format));

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
    meta.add_u32(key("rope.dimension_count"), shape->head_dim);
    meta.add_u32(key("vocab_size"), shape->vocab);
    meta.add_f32(key("rope.freq_base"), shape->rope_base);
    meta.add_f32(key("attention.layer_norm_rms_epsilon"), 1e-5f);
    meta.add_string("tokenizer.ggml.model", "no_vocab");
    const std::vector<std::byte> header_bytes = meta.to_bytes();

    struct Plan {
        std::string name;
        DType dtype;
        std::uint64_t cols, rows;
        bool ones;
    };
    std::vector<Plan> plan;
    const std::uint64_t e = shape->width, q = std::uint64_t{shape->heads} * shape->head_dim,
                        kv = std::uint64_t{shape->kv_heads} * shape->head_dim, ff = shape->ff, v = shape->vocab;
    const DType better = mixture ? DType::Q6_K : *format;
    plan.push_back({"token_embd.weight", shape->tied ? better : *format, e, v, false});
    plan.push_back({"output_norm.weight", DType::F32, e, 1, true});
    if (!shape->tied) plan.push_back({"output.weight", better, e, v, false});
    for (std::uint32_t i = 0; i < shape->layers; ++i) {
        const std::uint32_t n = shape->layers;
        const bool more = i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
        const auto add = [&](const char* part, DType dtype, std::uint64_t cols, std::uint64_t rows, bool ones = false) {
            plan.push_back({fmt::format("blk.{}.{}.weight", i, part), dtype, cols, rows, ones});
        };
        add("attn_norm", DType::F32, e, 1, true);
        add("attn_q", *format, e, q);
        add("attn_k", *format, e, kv);
        add("attn_v", more ? better : *format, e, kv);
        add("attn_output", *format, q, e);
        add("ffn_norm", DType::F32, e, 1, true);
        add("ffn_gate", *format, e, ff);
        add("ffn_up", *format, e, ff);
        add("ffn_down", more ? better : *format, ff, e);
    }
    constexpr std::uint64_t kAlign = 64;
    std::uint64_t total = (header_bytes.size() + kAlign - 1) / kAlign * kAlign;
    const std::uint64_t header_end = total;
    for (const Plan& p : plan) {
        if (p.cols % info(p.dtype).block != 0)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("shape '{}' has rows of {}, which {} cannot hold", spec.shape, p.cols, to_string(p.dtype)));
        total += (row_bytes(p.dtype, p.cols) * p.rows + kAlign - 1) / kAlign * kAlign;
    }
    base::AlignedBuffer memory(total, "random weights");
    std::memcpy(memory.data(), header_bytes.data(), header_bytes.size());
    gguf::File file = gguf::File::parse({memory.data(), header_bytes.size()}, "random weights");

    RandomWeights out{std::move(file), {}, {}, {}};
    Random random{spec.seed};
    std::uint64_t at = header_end;
    out.names.reserve(plan.size());
    for (const Plan& p : plan) {
        gguf::Tensor t;
        out.names.push_back(p.name);
        t.name = out.names.back();
        t.dtype = p.dtype;
        t.rank = p.rows == 1 ? 1 : 2;
        t.shape[0] = p.cols;
        t.shape[1] = p.rows;
        t.bytes = row_bytes(p.dtype, p.cols) * p.rows;
        t.data = memory.data() + at;
        if (p.ones) {
            const float one = 1.0f;
            for (std::uint64_t i = 0; i < p.cols; ++i) std::memcpy(memory.data() + at + 4 * i, &one, 4);
        } else {
            fill(memory.data() + at, p.dtype, p.cols * p.rows, random);
        }
        at += (t.bytes + kAlign - 1) / kAlign * kAlign;
        out.tensors.push_back(t);
    }
    out.memory = std::move(memory);
    return out;
}

}  // namespace tern::models
