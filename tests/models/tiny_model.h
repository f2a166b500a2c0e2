// A complete model file of a few KB, made in memory, whose every key and tensor a test can spoil.
#pragma once

#include <tern/gguf.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/formats/format.h"

namespace tern::test {

struct TinyModel {
    using Write = std::function<void(gguf::Writer&, const std::string& key)>;
    struct Key {
        std::string name;
        Write write;
    };
    struct Tensor {
        std::string name;
        std::vector<std::uint64_t> shape;
        DType dtype = DType::F32;
        float value = 0;  // of all elements; 0: small numbers of both signs
    };
    std::vector<Key> keys;
    std::vector<Tensor> tensors;

    static Write text(std::string v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_string(k, v); };
    }
    static Write u32(std::uint32_t v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_u32(k, v); };
    }
    static Write i32(std::int32_t v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_i32(k, v); };
    }
    static Write u64(std::uint64_t v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_u64(k, v); };
    }
    static Write f32(float v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_f32(k, v); };
    }
    static Write flag(bool v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_bool(k, v); };
    }
    static Write i32s(std::vector<std::int32_t> v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_i32s(k, v); };
    }
    static Write f32s(std::vector<float> v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_f32s(k, v); };
    }
    static Write texts(std::vector<std::string> v) {
        return [v](gguf::Writer& w, const std::string& k) { w.add_strings(k, v); };
    }

    void set(const std::string& name, Write write) {
        const auto at = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.name == name; });
        if (at == keys.end())
            keys.push_back({name, std::move(write)});
        else
            at->write = std::move(write);
    }
    void drop(const std::string& name) {
        std::erase_if(keys, [&](const Key& k) { return k.name == name; });
        std::erase_if(tensors, [&](const Tensor& t) { return t.name == name; });
    }
    Tensor& tensor(const std::string& name) {
        return *std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; });
    }

    std::vector<std::byte> bytes() const {
        gguf::Writer out;
        for (const Key& k : keys) k.write(out, k.name);
        std::vector<std::vector<std::byte>> data;
        data.reserve(tensors.size());
        for (const Tensor& t : tensors) {
            std::uint64_t n = 1;
            for (const std::uint64_t d : t.shape) n *= d;
            std::vector<float> x(n, t.value);
            if (t.value == 0)
                for (std::size_t i = 0; i < n; ++i) x[i] = 0.2f * std::sin(static_cast<float>(i * 7 + t.name.size()));
            data.emplace_back(row_bytes(t.dtype, n));
            if (const auto encode = kernels::format_ops(t.dtype).encode) encode(x.data(), nullptr, data.back().data(), n);
            out.add_tensor(t.name, t.dtype, t.shape, data.back());
        }
        return out.to_bytes();
    }
};

// 4 query and 2 key/value heads. `experts` 0: dense.
inline TinyModel tiny_model(std::uint32_t experts = 0, DType dtype = DType::Q8_0, std::uint32_t layers = 2,
                            std::uint32_t width = 32) {
    const std::uint32_t kHeads = 4, kKvHeads = 2, kHeadDim = width / 4, kHidden = 2 * width;
    const std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "c", "\u2581a", "ab", "bc"};
    using M = TinyModel;
    TinyModel m;
    m.set("general.architecture", M::text("llama"));
    m.set("general.name", M::text("tiny"));
    m.set("llama.block_count", M::u32(layers));
    m.set("llama.context_length", M::u32(128));
    m.set("llama.embedding_length", M::u32(width));
    m.set("llama.feed_forward_length", M::u32(kHidden));
    m.set("llama.attention.head_count", M::u32(kHeads));
    m.set("llama.attention.head_count_kv", M::u32(kKvHeads));
    m.set("llama.attention.layer_norm_rms_epsilon", M::f32(1e-5f));
    m.set("llama.rope.dimension_count", M::u32(kHeadDim));
    m.set("llama.rope.freq_base", M::f32(10000.0f));
    if (experts) {
        m.set("llama.expert_count", M::u32(experts));
        m.set("llama.expert_used_count", M::u32(2));
    }
    m.set("tokenizer.ggml.model", M::text("llama"));
    m.set("tokenizer.ggml.tokens", M::texts(tokens));
    m.set("tokenizer.ggml.scores", M::f32s({0, 0, 0, -5, -6, -7, -8, -1, -2, -3}));
    m.set("tokenizer.ggml.token_type", M::i32s({2, 3, 3, 1, 1, 1, 1, 1, 1, 1}));
    m.set("tokenizer.ggml.bos_token_id", M::u32(1));
    m.set("tokenizer.ggml.eos_token_id", M::u32(2));
    m.set("tokenizer.ggml.unknown_token_id", M::u32(0));

    const auto matrix = [&](const std::string& name, std::uint64_t cols, std::uint64_t rows) {
        m.tensors.push_back({name, {cols, rows}, dtype});
    };
    const auto ones = [&](const std::string& name) { m.tensors.push_back({name, {width}, DType::F32, 1.0f}); };
    matrix("token_embd.weight", width, tokens.size());
    ones("output_norm.weight");
    matrix("output.weight", width, tokens.size());
    for (std::uint32_t i = 0; i < layers; ++i) {
        const auto name = [&](const char* part) { return "blk." + std::to_string(i) + "." + part + ".weight"; };
        ones(name("attn_norm"));
        matrix(name("attn_q"), width, kHeads * kHeadDim);
        matrix(name("attn_k"), width, kKvHeads * kHeadDim);
        matrix(name("attn_v"), width, kKvHeads * kHeadDim);
        matrix(name("attn_output"), kHeads * kHeadDim, width);
        ones(name("ffn_norm"));
        if (experts == 0) {
            matrix(name("ffn_gate"), width, kHidden);
            matrix(name("ffn_up"), width, kHidden);
            matrix(name("ffn_down"), kHidden, width);
        } else {
            m.tensors.push_back({name("ffn_gate_inp"), {width, experts}, DType::F32});
            m.tensors.push_back({name("ffn_gate_exps"), {width, kHidden, experts}, dtype});
            m.tensors.push_back({name("ffn_up_exps"), {width, kHidden, experts}, dtype});
            m.tensors.push_back({name("ffn_down_exps"), {kHidden, width, experts}, dtype});
        }
    }
    return m;
}

}  // namespace tern::test
