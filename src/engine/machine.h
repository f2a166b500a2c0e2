// What a Session and an Engine share: a model's compiled programs and its KV cache, ready to evaluate batches.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include <tern/engine.h>

#include "backend/interface.h"
#include "backend/split/split.h"
#include "base/budget.h"
#include "kv/page_pool.h"

namespace tern::engine {

struct MachineOptions {
    std::uint32_t context = 0;     // 0: the model's, or less if the memory allowed or available holds less
    std::uint32_t sequences = 1;   // of the full context that must fit at once
    std::uint64_t kv_memory = 0;   // all of it is used; 0: as much as sequences × context needs
    KvType kv_type = KvType::f16;
    std::uint32_t batch = 512;
    std::uint32_t outputs = 16;    // rows of logits that the usual program has room for
    std::uint64_t park_memory = 0; // counted only
    std::function<bool(double)> progress{};  // SessionOptions::progress
};

// Sizes, before anything is taken.
struct MachinePlan {
    backend::KvGroups groups;     // of all layers
    backend::split::Layout layout;
    std::uint64_t page_bytes = 0; // of all parts together
    std::uint32_t context = 0;
    std::uint32_t batch = 0;
    std::uint32_t outputs = 0;
    std::uint32_t pages = 0;
    bool reduced = false;         // the context is shorter than the model's because of the memory
    std::string why_reduced;      // what but the memory keeps it from being longer; empty: nothing
    bool divisible = true;        // layers can lie apart
    std::optional<backend::Obstacle> obstacle;  // what no memory would help
    MemoryPlan memory;
};
// Error(invalid_argument): an option out of range. What does not fit is not an error here; see MemoryPlan::fits.
MachinePlan plan_machine(const Model& model, const MachineOptions& options);

class Machine {
public:
    // Error(invalid_argument): an option out of range. Error(out_of_memory), with the numbers and what would fit.
    Machine(Model model, const MachineOptions& options);

    const Model& model() const noexcept { return model_; }
    const MachinePlan& plan() const noexcept { return plan_; }
    std::uint32_t context() const noexcept { return plan_.context; }
    std::uint32_t batch() const noexcept { return plan_.batch; }
    std::uint32_t outputs() const noexcept { return plan_.outputs; }
    kv::PagePool& pool() noexcept { return pool_; }
    backend::KvMemory& kv() noexcept { return *kv_; }
    std::uint64_t kv_bytes() const noexcept { return kv_->page_bytes() * kv_->pages(); }
    std::uint64_t scratch_bytes() const noexcept;
    // A hash of the model and of how its KV pages are laid out: pages are read again only where it is the same.
    std::uint64_t kv_identity() const;
    std::uint32_t vocab_size() const noexcept { return model_.info().vocab_size; }

    // Error(invalid_argument) naming the first id outside the vocabulary.
    void check_tokens(std::span<const TokenId> tokens) const;

    // Runs at most batch() tokens; the page tables already have room. Rows of logits, valid until the next call.
    std::span<const float> run(const backend::Batch& batch);

private:
    void log_layout() const;
    Model model_;
    MachinePlan plan_;
    base::Share budget_;
    backend::split::Parts parts_;
    std::unique_ptr<backend::KvMemory> kv_;
    kv::PagePool pool_{0};
    std::unique_ptr<backend::Program> program_;
    std::unique_ptr<backend::Program> all_outputs_;  // compiled when first needed: logits of a whole batch are large
};

}  // namespace tern::engine
