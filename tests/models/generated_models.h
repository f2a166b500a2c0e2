// Small models of random F32 weights, the same bits everywhere: for the architectures and options that the reference models
// do not have. tests/data/models holds another program's logits for them.
#pragma once

#include <tern/gguf.h>

#include <cstring>
#include <functional>
#include <list>
#include <ostream>
#include <string>
#include <vector>

namespace tern::test {

// splitmix64 (Steele, Lea and Flood, 2014): a distribution of the standard library would differ between libraries.
struct Splitmix {
    std::uint64_t state;
    std::uint64_t next() {
        std::uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    float uniform() { return static_cast<float>(next() >> 40) / 8388608.0f - 1.0f; }  // [-1, 1)
};

inline constexpr std::uint32_t kGenLayers = 3, kGenWidth = 64, kGenHeads = 4, kGenKv = 2, kGenHead = 16, kGenInner = 96,
                               kGenVocab = 64, kGenTokens = 48;

class ModelMaker {
public:
    ModelMaker(std::string architecture, std::uint64_t seed) : arch_(std::move(architecture)), random_{seed} {
        out_.add_string("general.architecture", arch_);
        out_.add_string("tokenizer.ggml.model", "no_vocab");
        u32("vocab_size", kGenVocab);
        u32("context_length", 256);
        u32("embedding_length", kGenWidth);
    }
    void u32(const std::string& key, std::uint32_t v) { out_.add_u32(arch_ + "." + key, v); }
    void f32(const std::string& key, float v) { out_.add_f32(arch_ + "." + key, v); }
    void flag(const std::string& key, bool v) { out_.add_bool(arch_ + "." + key, v); }
    void text(const std::string& key, const std::string& v) { out_.add_string(arch_ + "." + key, v); }
    // Layers, heads and width of the feed-forward part.
    void shape(std::uint32_t layers = kGenLayers, std::uint32_t kv_heads = kGenKv) {
        u32("block_count", layers_ = layers);
        u32("attention.head_count", kGenHeads);
        u32("attention.head_count_kv", kv_heads_ = kv_heads);
        u32("feed_forward_length", kGenInner);
    }
    void rotary(std::uint32_t dimensions = kGenHead) {
        u32("rope.dimension_count", dimensions);
        f32("rope.freq_base", 10000.0f);
    }
    std::uint32_t layers() const { return layers_; }

    // Elements uniform in centre ± spread.
    void tensor(const std::string& name, std::vector<std::uint64_t> shape, float centre, float spread) {
        std::uint64_t n = 1;
        for (const std::uint64_t d : shape) n *= d;
        std::vector<float>& x = data_.emplace_back(n);
        for (float& v : x) v = centre + spread * random_.uniform();
        out_.add_tensor(name, DType::F32, shape, std::as_bytes(std::span(x)));
    }
    void matrix(const std::string& name, std::uint64_t rows, std::uint64_t cols, std::uint64_t slabs = 0) {
        std::vector<std::uint64_t> shape{cols, rows};
        if (slabs) shape.push_back(slabs);
        tensor(name + ".weight", shape, 0.0f, 0.3f);
    }
    void norm(const std::string& name, std::uint64_t n = kGenWidth) { tensor(name + ".weight", {n}, 1.0f, 0.4f); }
    void bias(const std::string& name, std::uint64_t n = kGenWidth) { tensor(name + ".bias", {n}, 0.0f, 0.3f); }
    void layer_norm(const std::string& name) {
        norm(name);
        bias(name);
    }

    std::string blk(std::uint32_t i, const char* part) const { return "blk." + std::to_string(i) + "." + part; }
    void qkv(std::uint32_t i, bool biases = false) {
        const std::uint64_t q = kGenHeads * kGenHead, kv = kv_heads_ * kGenHead;
        matrix(blk(i, "attn_q"), q, kGenWidth);
        matrix(blk(i, "attn_k"), kv, kGenWidth);
        matrix(blk(i, "attn_v"), kv, kGenWidth);
        if (biases) bias(blk(i, "attn_q"), q), bias(blk(i, "attn_k"), kv), bias(blk(i, "attn_v"), kv);
    }
    void fused_qkv(std::uint32_t i) { matrix(blk(i, "attn_qkv"), (kGenHeads + 2 * kv_heads_) * kGenHead, kGenWidth); }
    void attention_output(std::uint32_t i) { matrix(blk(i, "attn_output"), kGenWidth, kGenHeads * kGenHead); }
    void gated(std::uint32_t i, const char* suffix = "", std::uint64_t inner = kGenInner, std::uint64_t slabs = 0) {
        const auto name = [&](const char* part) { return blk(i, part) + suffix; };
        matrix(name("ffn_gate"), inner, kGenWidth, slabs);
        matrix(name("ffn_up"), inner, kGenWidth, slabs);
        matrix(name("ffn_down"), kGenWidth, inner, slabs);
    }
    void embedding() { matrix("token_embd", kGenVocab, kGenWidth); }
    void output() { matrix("output", kGenVocab, kGenWidth); }
    std::vector<std::byte> bytes() const { return out_.to_bytes(); }

private:
    std::string arch_;
    Splitmix random_;
    std::uint32_t layers_ = kGenLayers, kv_heads_ = kGenKv;
    gguf::Writer out_;
    std::list<std::vector<float>> data_;  // the writer keeps views
};

inline std::vector<TokenId> generated_tokens() {
    Splitmix random{99};
    std::vector<TokenId> tokens(kGenTokens);
    for (TokenId& t : tokens) t = static_cast<TokenId>(random.next() % kGenVocab);
    return tokens;
}

struct GeneratedModel {
    const char* name;
    const char* architecture;
    void (*make)(ModelMaker& m);
    double tolerance = 1e-9;  // of the normalised mean square error; more where the other program's GELU is a table
};
inline void PrintTo(const GeneratedModel& m, std::ostream* out) { *out << m.name; }

// Llama's layout, which several families share.
inline void llama_like(ModelMaker& m, bool qkv_bias = false) {
    m.embedding();
    m.norm("output_norm");
    m.output();
    for (std::uint32_t i = 0; i < m.layers(); ++i) {
        m.norm(m.blk(i, "attn_norm"));
        m.qkv(i, qkv_bias);
        m.attention_output(i);
        m.norm(m.blk(i, "ffn_norm"));
        m.gated(i);
    }
}

inline void rms(ModelMaker& m) { m.f32("attention.layer_norm_rms_epsilon", 1e-5f); }
inline void layer(ModelMaker& m) { m.f32("attention.layer_norm_epsilon", 1e-5f); }

// DeepSeek with the options that the reference model has not: YaRN with a multiplier, groups of experts.
inline void deepseek(ModelMaker& m, bool yarn, bool q_latent, bool groups) {
    constexpr std::uint32_t kLatent = 32, kPlain = 12, kRot = 8, kValue = 20, kExperts = 8, kWide = 40;
    m.u32("block_count", kGenLayers);
    m.u32("attention.head_count", kGenHeads);
    m.u32("attention.head_count_kv", 1);
    m.u32("feed_forward_length", kGenInner);
    rms(m);
    m.rotary(kRot);
    m.u32("attention.key_length", kLatent + kRot);
    m.u32("attention.value_length", kLatent);
    m.u32("attention.key_length_mla", kPlain + kRot);
    m.u32("attention.value_length_mla", kValue);
    m.u32("attention.kv_lora_rank", kLatent);
    m.u32("attention.q_lora_rank", q_latent ? 24 : 0);
    m.u32("leading_dense_block_count", 1);
    m.u32("expert_count", kExperts);
    m.u32("expert_used_count", 3);
    m.u32("expert_shared_count", 2);
    m.u32("expert_feed_forward_length", kWide);
    m.f32("expert_weights_scale", 2.5f);
    if (groups) {
        m.flag("expert_weights_norm", true);
        m.u32("expert_gating_func", 2);
        m.u32("expert_group_count", 4);
        m.u32("expert_group_used_count", 2);
    }
    if (yarn) {
        m.text("rope.scaling.type", "yarn");
        m.f32("rope.scaling.factor", 4.0f);
        m.u32("rope.scaling.original_context_length", 64);
        m.f32("rope.scaling.yarn_log_multiplier", 0.0707f);
    }
    m.embedding();
    m.norm("output_norm");
    m.output();
    for (std::uint32_t i = 0; i < kGenLayers; ++i) {
        m.norm(m.blk(i, "attn_norm"));
        if (q_latent) {
            m.matrix(m.blk(i, "attn_q_a"), 24, kGenWidth);
            m.norm(m.blk(i, "attn_q_a_norm"), 24);
        }
        m.matrix(m.blk(i, q_latent ? "attn_q_b" : "attn_q"), kGenHeads * (kPlain + kRot), q_latent ? 24 : kGenWidth);
        m.matrix(m.blk(i, "attn_kv_a_mqa"), kLatent + kRot, kGenWidth);
        m.norm(m.blk(i, "attn_kv_a_norm"), kLatent);
        m.matrix(m.blk(i, "attn_k_b"), kLatent, kPlain, kGenHeads);
        m.matrix(m.blk(i, "attn_v_b"), kValue, kLatent, kGenHeads);
        m.matrix(m.blk(i, "attn_output"), kGenWidth, kGenHeads * kValue);
        m.norm(m.blk(i, "ffn_norm"));
        if (i == 0) {
            m.gated(i);
            continue;
        }
        m.matrix(m.blk(i, "ffn_gate_inp"), kExperts, kGenWidth);
        m.gated(i, "_exps", kWide, kExperts);
        m.gated(i, "_shexp", 2 * kWide);
        if (groups) m.bias(m.blk(i, "exp_probs_b"), kExperts);
    }
}

inline constexpr GeneratedModel kGenerated[] = {
    {"gemma", "gemma",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.embedding();
         m.norm("output_norm");
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.qkv(i);
             m.attention_output(i);
             m.norm(m.blk(i, "ffn_norm"));
             m.gated(i);
         }
     },
     1e-6},
    {"internlm2", "internlm2",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         llama_like(m);
     }},
    {"internlm2-linear", "internlm2",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.text("rope.scaling.type", "linear");
         m.f32("rope.scaling.factor", 3.0f);
         llama_like(m);
     }},
    {"exaone-llama3", "exaone",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.tensor("rope_freqs.weight", {kGenHead / 2}, 3.0f, 2.0f);
         llama_like(m);
     }},
    {"qwen2-yarn", "qwen2",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.text("rope.scaling.type", "yarn");
         m.f32("rope.scaling.factor", 4.0f);
         m.u32("rope.scaling.original_context_length", 128);
         llama_like(m, true);
     }},
    {"qwen2moe", "qwen2moe",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.u32("expert_count", 8);
         m.u32("expert_used_count", 3);
         m.u32("expert_feed_forward_length", 40);
         m.u32("expert_shared_feed_forward_length", 56);
         m.embedding();
         m.norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.qkv(i, true);
             m.attention_output(i);
             m.norm(m.blk(i, "ffn_norm"));
             m.matrix(m.blk(i, "ffn_gate_inp"), 8, kGenWidth);
             m.gated(i, "_exps", 40, 8);
             m.tensor(m.blk(i, "ffn_gate_inp_shexp") + ".weight", {kGenWidth}, 0.0f, 0.3f);
             m.gated(i, "_shexp", 56);
         }
     }},
    {"granitemoe", "granitemoe",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.f32("embedding_scale", 5.0f);
         m.f32("residual_scale", 0.3f);
         m.f32("attention.scale", 0.1f);
         m.f32("logit_scale", 4.0f);
         m.u32("expert_count", 8);
         m.u32("expert_used_count", 3);
         m.u32("expert_shared_feed_forward_length", 56);
         m.embedding();
         m.norm("output_norm");
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.qkv(i);
             m.attention_output(i);
             m.norm(m.blk(i, "ffn_norm"));
             m.matrix(m.blk(i, "ffn_gate_inp"), 8, kGenWidth);
             m.gated(i, "_exps", kGenInner, 8);
             m.gated(i, "_shexp", 56);
         }
     }},
    {"granite-no-positions", "granite",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.flag("rope.scaling.finetuned", false);
         m.f32("logit_scale", 4.0f);
         llama_like(m);
     }},
    {"minicpm", "minicpm",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.f32("logit_scale", 0.25f);  // width / 256, as converters write it; embedding and residual scale as in the paper
         llama_like(m);
     }},
    {"stablelm", "stablelm",
     [](ModelMaker& m) {
         m.shape();
         layer(m);
         m.rotary(4);
         m.embedding();
         m.layer_norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.layer_norm(m.blk(i, "attn_norm"));
             m.qkv(i, true);
             m.attention_output(i);
             m.layer_norm(m.blk(i, "ffn_norm"));
             m.gated(i);
         }
     }},
    {"stablelm-parallel", "stablelm",
     [](ModelMaker& m) {
         m.shape();
         layer(m);
         m.rotary(4);
         m.embedding();
         m.layer_norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.layer_norm(m.blk(i, "attn_norm"));
             m.qkv(i);
             m.tensor(m.blk(i, "attn_q_norm") + ".weight", {kGenHead, kGenHeads}, 1.0f, 0.4f);
             m.tensor(m.blk(i, "attn_k_norm") + ".weight", {kGenHead, kGenKv}, 1.0f, 0.4f);
             m.attention_output(i);
             m.gated(i);
         }
     }},
    {"mpt", "mpt",
     [](ModelMaker& m) {
         m.shape(kGenLayers, kGenHeads);
         layer(m);
         m.f32("attention.max_alibi_bias", 8.0f);
         m.embedding();
         m.norm("output_norm");
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.fused_qkv(i);
             m.attention_output(i);
             m.norm(m.blk(i, "ffn_norm"));
             m.matrix(m.blk(i, "ffn_up"), kGenInner, kGenWidth);
             m.matrix(m.blk(i, "ffn_down"), kGenWidth, kGenInner);
         }
     },
     1e-6},
    {"cohere2", "cohere2",
     [](ModelMaker& m) {
         m.shape(5);
         layer(m);
         m.rotary();
         m.u32("attention.sliding_window", 10);
         m.f32("logit_scale", 0.25f);
         m.embedding();
         m.norm("output_norm");
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.qkv(i);
             m.attention_output(i);
             m.gated(i);
         }
     }},
    {"glm4", "glm4",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary(8);
         m.embedding();
         m.norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.qkv(i, true);
             m.attention_output(i);
             m.norm(m.blk(i, "post_attention_norm"));
             m.norm(m.blk(i, "ffn_norm"));
             m.matrix(m.blk(i, "ffn_up"), 2 * kGenInner, kGenWidth);
             m.matrix(m.blk(i, "ffn_down"), kGenWidth, kGenInner);
             m.norm(m.blk(i, "post_ffw_norm"));
         }
     }},
    {"nemotron", "nemotron",
     [](ModelMaker& m) {
         m.shape();
         layer(m);
         m.rotary(8);
         m.embedding();
         m.layer_norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.layer_norm(m.blk(i, "attn_norm"));
             m.qkv(i);
             m.attention_output(i);
             m.layer_norm(m.blk(i, "ffn_norm"));
             m.matrix(m.blk(i, "ffn_up"), kGenInner, kGenWidth);
             m.matrix(m.blk(i, "ffn_down"), kGenWidth, kGenInner);
         }
     }},
    {"falcon-two-norms", "falcon",
     [](ModelMaker& m) {
         m.shape();
         layer(m);
         m.rotary();
         m.embedding();
         m.layer_norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.layer_norm(m.blk(i, "attn_norm"));
             m.layer_norm(m.blk(i, "attn_norm_2"));
             m.fused_qkv(i);
             m.attention_output(i);
             m.matrix(m.blk(i, "ffn_up"), kGenInner, kGenWidth);
             m.matrix(m.blk(i, "ffn_down"), kGenWidth, kGenInner);
         }
     },
     1e-6},
    {"olmo2-windows", "olmo2",
     [](ModelMaker& m) {
         m.shape(5, kGenHeads);
         rms(m);
         m.rotary();
         m.u32("attention.sliding_window", 10);
         m.text("rope.scaling.type", "yarn");
         m.f32("rope.scaling.factor", 8.0f);
         m.u32("rope.scaling.original_context_length", 64);
         m.embedding();
         m.norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.qkv(i);
             m.attention_output(i);
             m.norm(m.blk(i, "attn_q_norm"));
             m.norm(m.blk(i, "attn_k_norm"));
             m.norm(m.blk(i, "post_attention_norm"));
             m.gated(i);
             m.norm(m.blk(i, "post_ffw_norm"));
         }
     }},
    // Short enough a context for the first set of LongRoPE's factors: the reference model has the second.
    {"phi3-short", "phi3",
     [](ModelMaker& m) {
         m.shape();
         rms(m);
         m.rotary();
         m.u32("rope.scaling.original_context_length", 256);
         m.f32("rope.scaling.attn_factor", 1.1f);
         m.tensor("rope_factors_short.weight", {kGenHead / 2}, 1.5f, 0.5f);
         m.tensor("rope_factors_long.weight", {kGenHead / 2}, 5.0f, 3.0f);
         m.embedding();
         m.norm("output_norm");
         m.output();
         for (std::uint32_t i = 0; i < m.layers(); ++i) {
             m.norm(m.blk(i, "attn_norm"));
             m.fused_qkv(i);
             m.attention_output(i);
             m.norm(m.blk(i, "ffn_norm"));
             m.matrix(m.blk(i, "ffn_up"), 2 * kGenInner, kGenWidth);
             m.matrix(m.blk(i, "ffn_down"), kGenWidth, kGenInner);
         }
     }},
    {"deepseek2-yarn", "deepseek2", [](ModelMaker& m) { deepseek(m, true, true, false); }},
    {"deepseek2-groups", "deepseek2", [](ModelMaker& m) { deepseek(m, false, true, true); }},
};

inline std::vector<std::byte> generate(const GeneratedModel& model) {
    ModelMaker maker(model.architecture, 7);
    model.make(maker);
    return maker.bytes();
}

}  // namespace tern::test
