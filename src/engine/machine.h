// What a Session and an Engine share: a model's compiled programs and its KV cache, ready to evaluate batches.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include <tern/engine.h>

#include "backend/interface.h"
#include "kv/page_pool.h"

namespace tern::engine {

struct MachineOptions {
    std::uint32_t context = 0;     // 0: the model's, or less if `pages` or the memory available holds less
    std::uint32_t sequences = 1;   // of the full context that must fit at once
    std::uint64_t kv_memory = 0;   // 0: as much as sequences × context needs
    KvType kv_type = KvType::f16;
    std::uint32_t batch = 512;
};

class Machine {
public:
    // Error(invalid_argument): an option out of range. Error(out_of_memory), with the numbers and what would fit:
    // the KV cache needs more than the memory available.
    Machine(Model model, const MachineOptions& options);

    const Model& model() const noexcept { return model_; }
    std::uint32_t context() const noexcept { return context_; }
    std::uint32_t batch() const noexcept { return batch_; }
    kv::PagePool& pool() noexcept { return pool_; }
    std::uint64_t kv_bytes() const noexcept { return kv_->page_bytes() * kv_->pages(); }
    std::uint64_t scratch_bytes() const noexcept;
    std::uint32_t vocab_size() const noexcept { return model_.info().vocab_size; }

    // Error(invalid_argument) naming the first id outside the vocabulary.
    void check_tokens(std::span<const TokenId> tokens) const;

    // Runs at most batch() tokens; the page tables already have room. Rows of logits, valid until the next call.
    std::span<const float> run(const backend::Batch& batch);

private:
    Model model_;
    std::uint32_t context_ = 0;
    std::uint32_t batch_;
    std::uint32_t few_;  // outputs that the usual program has room for
    std::unique_ptr<backend::KvMemory> kv_;
    kv::PagePool pool_{0};
    std::unique_ptr<backend::Program> program_;
    std::unique_ptr<backend::Program> all_outputs_;  // compiled when first needed: logits of a whole batch are large
};

}  // namespace tern::engine
