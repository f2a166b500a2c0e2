// A Llama of a few thousand random parameters, made on the spot: what the commands do does not depend on its words.
#pragma once

#include <tern/gguf.h>
#include <tern/tokenizer.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace tern::test {

inline constexpr std::uint32_t kTinyContext = 256;

// unk, bos, one more control token, 256 bytes, and some pieces: any bytes can be encoded. No end token, so that a
// reply ends where it is told to.
inline constexpr std::uint32_t kTinyVocabulary = 3 + 256 + 8;

class TinyModel {
public:
    explicit TinyModel(std::uint32_t context = kTinyContext, const std::string& chat_template = "") {
        gguf::Writer w;
        w.add_string("general.architecture", "llama");
        w.add_string("general.name", "tiny");
        w.add_u32("llama.block_count", 2);
        w.add_u32("llama.embedding_length", 64);
        w.add_u32("llama.attention.head_count", 4);
        w.add_u32("llama.attention.head_count_kv", 2);
        w.add_u32("llama.feed_forward_length", 96);
        w.add_u32("llama.context_length", context);
        w.add_u32("llama.rope.dimension_count", 16);
        w.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);

        std::vector<std::string> tokens{"<unk>", "<s>", "<mark>"};
        std::vector<std::int32_t> types{2, 3, 3};
        for (int b = 0; b < 256; ++b) {
            const char* digits = "0123456789ABCDEF";
            tokens.push_back(std::string("<0x") + digits[b / 16] + digits[b % 16] + ">");
            types.push_back(6);
        }
        for (const char* piece : {"\u2581", "a", "b", "\u2581a", "ab", "\u2581ab", "c", "abc"}) {
            tokens.push_back(piece);
            types.push_back(1);
        }
        std::vector<float> scores;
        for (std::size_t i = 0; i < tokens.size(); ++i) scores.push_back(-static_cast<float>(i));
        w.add_string("tokenizer.ggml.model", "llama");
        w.add_strings("tokenizer.ggml.tokens", tokens);
        w.add_f32s("tokenizer.ggml.scores", scores);
        w.add_i32s("tokenizer.ggml.token_type", types);
        w.add_u32("tokenizer.ggml.unknown_token_id", 0);
        w.add_u32("tokenizer.ggml.bos_token_id", 1);
        if (!chat_template.empty()) w.add_string("tokenizer.chat_template", chat_template);

        matrix(w, "token_embd.weight", 64, kTinyVocabulary);
        vector(w, "output_norm.weight", 64);
        matrix(w, "output.weight", 64, kTinyVocabulary);
        for (const char* layer : {"blk.0.", "blk.1."}) {
            const std::string at = layer;
            vector(w, at + "attn_norm.weight", 64);
            matrix(w, at + "attn_q.weight", 64, 64);
            matrix(w, at + "attn_k.weight", 64, 32);
            matrix(w, at + "attn_v.weight", 64, 32);
            matrix(w, at + "attn_output.weight", 64, 64);
            vector(w, at + "ffn_norm.weight", 64);
            matrix(w, at + "ffn_gate.weight", 64, 96);
            matrix(w, at + "ffn_up.weight", 64, 96);
            matrix(w, at + "ffn_down.weight", 96, 64);
        }
        bytes_ = w.to_bytes();
    }
    void write(const std::filesystem::path& path) const { write(path, bytes_.size()); }
    // The first `size` bytes.
    void write(const std::filesystem::path& path, std::size_t size) const {
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes_.data()), static_cast<std::streamsize>(size));
    }
    const std::vector<std::byte>& bytes() const { return bytes_; }

private:
    // Matrices of whole blocks are Q8_0, so that the quantised products run as well.
    void matrix(gguf::Writer& w, const std::string& name, std::uint64_t cols, std::uint64_t rows) {
        std::vector<std::byte>& data = data_.emplace_back(row_bytes(DType::Q8_0, cols) * rows);
        for (std::size_t at = 0; at < data.size(); at += 34) {
            const std::uint16_t scale = 0x1c00;  // 2^-8
            std::memcpy(&data[at], &scale, sizeof scale);
            for (std::size_t i = 2; i < 34; ++i) data[at + i] = static_cast<std::byte>(random_());
        }
        const std::uint64_t shape[] = {cols, rows};
        w.add_tensor(name, DType::Q8_0, shape, data);
    }
    void vector(gguf::Writer& w, const std::string& name, std::uint64_t n) {
        std::vector<std::byte>& data = data_.emplace_back(n * 4);
        for (std::size_t i = 0; i < n; ++i) {
            const float x = 0.5f + static_cast<float>(random_() % 1000) / 1000.0f;
            std::memcpy(&data[4 * i], &x, sizeof x);
        }
        w.add_tensor(name, DType::F32, std::span(&n, 1), data);
    }
    std::mt19937 random_{7};
    std::vector<std::vector<std::byte>> data_;
    std::vector<std::byte> bytes_;
};

inline const TinyModel& tiny_model() {
    static const TinyModel model;
    return model;
}

}  // namespace tern::test
