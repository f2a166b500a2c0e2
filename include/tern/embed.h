// An Embedder turns texts into vectors, with encoders (BERT and its relatives) and with any decoder.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tern/export.h>
#include <tern/model.h>

namespace tern {

struct EmbedOptions {
    std::optional<Pooling> pooling{};  // absent: ModelInfo::pooling
    // Divide each vector by its length, so that the cosine of two is their dot product. Never for Pooling::rank.
    bool normalize = true;
    std::uint32_t batch = 512;  // tokens computed at once, more where one text is longer; the same bits
    // As SessionOptions::progress, but called by the first embed(), which copies the weights. After
    // Error(cancelled) it can be called again.
    std::function<bool(double)> progress{};
};

// Not thread safe; different embedders of a model may run on different threads. A text's vector is the same bits alone
// and among others, with any number of threads and on every CPU (docs/numerics.md).
class TERN_API Embedder {
public:
    // Error(unsupported): Pooling::rank of a model without a scoring head, or another pooling of one that has it.
    // Error(invalid_argument): an option out of range.
    explicit Embedder(Model model, const EmbedOptions& options = {});
    Embedder(Embedder&&) noexcept;
    Embedder& operator=(Embedder&&) noexcept;
    ~Embedder();

    // One vector of width() numbers for each text, in their order. Ids are taken as they are: encode() with add_special
    // gives what the model was trained on. Error(invalid_argument): no tokens, an id outside the vocabulary;
    // Error(context_full): a text of more than max_tokens(), which is never cut silently; Error(out_of_memory). Each
    // names the text.
    std::vector<std::vector<float>> embed(std::span<const std::vector<TokenId>> texts);
    std::vector<std::vector<float>> embed(std::span<const std::string> texts);

    Pooling pooling() const noexcept;
    std::uint32_t width() const noexcept;
    std::uint32_t max_tokens() const noexcept;  // of one text
    const Model& model() const noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern
