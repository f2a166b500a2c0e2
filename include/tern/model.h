// A Model is a loaded, immutable set of weights with its vocabulary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <tern/dtype.h>
#include <tern/export.h>
#include <tern/gguf.h>
#include <tern/runtime.h>
#include <tern/tokenizer.h>

namespace tern {

// How the vectors of a text's tokens, which stand after the last norm, become one.
enum class Pooling {
    mean,
    cls,   // the first token's
    last,  // the last token's
    rank,  // scores by a head on the first token's, of a model that was trained to rank
};
// "mean", "cls", "last", "rank".
TERN_API const char* to_string(Pooling pooling) noexcept;

struct ModelOptions {
    TokenizerOptions tokenizer{};
    bool map = true;  // false: read the weights into memory instead of mapping the file
    // Touch every page of the weights before load() returns, so that the first token does not wait for the disk.
    bool preload = false;
    // Keep the weights in memory, so that they are never read from the disk again while the model lives. load() reads them
    // all. Error(out_of_memory), with the limit in bytes, where the system's limit of locked memory (ulimit -l) is lower.
    bool lock = false;
    // Called from load() with the fraction done, 0 to 1, while it reads. Return false to cancel (Error(cancelled)).
    std::function<bool(double)> progress{};
};

struct ModelInfo {
    std::string name;          // general.name, or the file's name
    std::string architecture;  // "llama"
    std::uint32_t layers = 0;
    std::uint32_t width = 0;  // embedding length
    std::uint32_t heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t k_dim = 0;  // key length per head
    std::uint32_t v_dim = 0;
    std::uint32_t vocab_size = 0;
    std::uint32_t context_length = 0;  // positions it was trained for
    std::uint64_t parameters = 0;
    std::uint64_t weight_bytes = 0;
    std::uint64_t token_bytes = 0;  // bytes of weights read to generate one token
    std::uint64_t token_flops = 0;  // multiply-adds × 2 of the weights per token
    std::uint32_t experts = 0;       // per layer, 0 in dense models …
    std::uint32_t experts_used = 0;  // … and per token
    std::uint64_t expert_bytes = 0;  // of weight_bytes: all experts, of which a token reads experts_used / experts
    std::string format;             // the format of most weight bytes, "Q4_K"
    bool encoder = false;           // makes embeddings only: no next-token scores, no text
    Pooling pooling = Pooling::last;  // of embeddings: the file's pooling_type, else mean for encoders
};

// Random weights of a known shape, for speed and memory only; a model without a vocabulary.
struct RandomModel {
    // "llama-3.2-1b", "llama-3.1-8b", "tiny-110m", "stories260k"; "moe-32x": 4 layers in the proportions of gpt-oss-20b.
    std::string shape{};
    // A format, which all matrices get, or a mixture: Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, MXFP4_MOE.
    // Rows that are no multiple of its blocks get another format, as in published files.
    std::string format{};
    std::uint64_t seed = 1;
    bool lock = false;  // as ModelOptions::lock
};

// A handle; copies share the same weights. Thread safe.
class TERN_API Model {
public:
    // Errors: not_found and io (file), bad_file (broken file; missing, misshapen or unknown tensor, bad
    // hyperparameter: named), unsupported (architecture or format that Tern does not run; lists those it does).
    static Model load(const Runtime& runtime, const std::filesystem::path& path, const ModelOptions& options = {});
    // From an open file, which the model keeps.
    static Model load(const Runtime& runtime, gguf::File file, const ModelOptions& options = {});
    static Model random(const Runtime& runtime, const RandomModel& spec);

    const ModelInfo& info() const noexcept;
    const Tokenizer& tokenizer() const noexcept;  // encode and decode throw where the file has no vocabulary
    std::optional<std::string> chat_template() const;
    const Runtime& runtime() const noexcept;

    struct Impl;
    const std::shared_ptr<const Impl>& impl() const noexcept { return impl_; }

private:
    explicit Model(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
    std::shared_ptr<const Impl> impl_;
};

}  // namespace tern
