// What a backend is: it owns KV memory and buffers, compiles graphs to programs, and runs them on batches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <tern/engine.h>

#include "graph/graph.h"

namespace tern::backend {

// KV memory: `pages` pages, each holding kernels::kPageTokens positions of every KV layer and head of a graph.
class KvMemory {
public:
    virtual ~KvMemory() = default;
    virtual std::uint32_t pages() const noexcept = 0;
    virtual std::uint64_t page_bytes() const noexcept = 0;
    // Copies one page over another (a fork writes its own copy).
    virtual void copy_page(std::uint32_t from, std::uint32_t to) = 0;
};

// Consecutive tokens of one sequence in a batch.
struct Segment {
    std::uint32_t first = 0;      // index of its first token in the batch
    std::uint32_t count = 0;
    std::uint32_t position = 0;   // of its first token
    std::span<const std::uint32_t> pages;  // page table; holds at least position + count positions
};

// One ragged batch. `outputs` lists, ascending, the tokens whose logits are wanted.
struct Batch {
    std::span<const TokenId> tokens;
    std::span<const Segment> segments;
    std::span<const std::uint32_t> outputs;
};

// A compiled graph with its buffers. One thread at a time.
class Program {
public:
    virtual ~Program() = default;
    // Returns outputs.size() rows of logits, valid until the next run. Tokens and tables were checked by the caller.
    virtual std::span<const float> run(const Batch& batch, KvMemory& kv) = 0;
    virtual std::uint64_t scratch_bytes() const noexcept = 0;
};

struct Limits {
    std::uint32_t max_tokens = 0;   // of a batch
    std::uint32_t max_outputs = 0;
    std::uint32_t max_context = 0;  // positions of a sequence
};

class Backend {
public:
    virtual ~Backend() = default;
    virtual std::string name() const = 0;  // "cpu"
    virtual std::string isa() const = 0;   // "avx512"
    virtual unsigned threads() const noexcept = 0;
    // The graph must outlive the program.
    virtual std::unique_ptr<Program> compile(const graph::Graph& graph, const Limits& limits) = 0;
    virtual std::unique_ptr<KvMemory> make_kv(const graph::Graph& graph, KvType type, std::uint32_t pages) = 0;
    // What else a user should know about what computes here: the version and settings of a foreign library.
    virtual std::string info() const { return {}; }
};

// Bytes of one page for a graph's KV layers.
std::uint64_t kv_page_bytes(const graph::Graph& graph, KvType type) noexcept;

// One row per backend: registry.cpp. Error(invalid_argument) naming the known ones; Error(unsupported) for an
// instruction set that this CPU lacks.
std::unique_ptr<Backend> make_backend(const std::string& name, const std::string& isa, unsigned threads);

}  // namespace tern::backend
