// What a backend is: it owns KV memory and buffers, compiles graphs to programs, and runs them on batches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tern/engine.h>
#include <tern/error.h>
#include <tern/runtime.h>

#include "graph/graph.h"

namespace tern::backend {

// How the KV layers of a graph share page tables. Layers of one window form one or more groups, so that pages behind a
// window can be freed; where windows differ, the layers of the larger part are cut into several groups, so that the pages
// of all groups have about the same size and come from one pool.
struct KvGroups {
    std::vector<std::uint32_t> of_layer;  // KV layer -> group
    std::vector<std::uint32_t> windows;   // group -> window, 0: none
    std::uint64_t page_bytes = 0;         // of the largest group

    std::uint32_t count() const noexcept { return static_cast<std::uint32_t>(windows.size()); }
};
KvGroups kv_groups(const graph::Graph& graph, KvType type);
// The same groups for a part of the graph that holds its `layers` KV layers from `first` on (graph/cut.h): page tables
// are those of the whole. page_bytes is what the part's layers need.
KvGroups part_of(const KvGroups& groups, const graph::Graph& part, std::uint32_t first, KvType type);

// KV memory: `pages` pages, each holding kernels::kPageTokens positions of every layer and head of one group.
class KvMemory {
public:
    virtual ~KvMemory() = default;
    virtual std::uint32_t pages() const noexcept = 0;
    virtual std::uint64_t page_bytes() const noexcept = 0;
    // Copies one page over another (a fork writes its own copy).
    virtual void copy_page(std::uint32_t from, std::uint32_t to) = 0;
    // A page's bytes, page_bytes() of them, for storage elsewhere; only the same kind of memory reads them again.
    virtual void read_page(std::uint32_t page, std::span<std::byte> to) const = 0;
    virtual void write_page(std::uint32_t page, std::span<const std::byte> from) = 0;
    // Whether move() can: every layer's keys are rotated as the last step, and none has a window.
    virtual bool can_move() const noexcept = 0;
    // Moves the positions [from, from + count) of a sequence to [to, to + count), to < from, and rotates their keys to
    // the new positions. `table` as in Segment. Values keep their bits; keys are rotated in f32 and stored again.
    virtual void move(std::span<const std::uint32_t> table, std::uint32_t from, std::uint32_t to, std::uint32_t count) = 0;
};

// Consecutive tokens of one sequence in a batch.
struct Segment {
    std::uint32_t first = 0;      // index of its first token in the batch
    std::uint32_t count = 0;
    std::uint32_t position = 0;   // of its first token
    // Page table, [block of kPageTokens positions][group]: at least position + count positions. Blocks that no token
    // of the segment sees in a group may name any page there.
    std::span<const std::uint32_t> pages;
};

// One ragged batch. `outputs` lists, ascending, the tokens whose logits are wanted.
struct Batch {
    std::span<const TokenId> tokens;
    std::span<const Segment> segments;
    std::span<const std::uint32_t> outputs;
    std::span<const float> input = {};  // the rows of the graph's `input`, where it has one
};

// A compiled graph with its buffers. One thread at a time.
class Program {
public:
    virtual ~Program() = default;
    // Returns the rows of the graph's result, valid until the next run: outputs.size() rows of logits, or of a part of a
    // model tokens.size() rows of values. Tokens and tables were checked by the caller.
    virtual std::span<const float> run(const Batch& batch, KvMemory& kv) = 0;
    virtual std::uint64_t scratch_bytes() const noexcept = 0;
};

struct Limits {
    std::uint32_t max_tokens = 0;   // of a batch
    std::uint32_t max_outputs = 0;
    std::uint32_t max_context = 0;  // positions of a sequence
    std::uint32_t kv_groups = 0;    // of the page tables; 0: kv_groups() of the graph
};

// Where a backend computes and keeps what it needs.
struct Place {
    std::string name = "cpu";
    std::uint32_t number = 0;    // among the devices of its backend
    bool device = false;         // memory that is counted apart: weights are copied there
    bool shares_memory = false;  // … but is the host's (integrated and software devices)
    std::uint64_t memory = 0;    // bytes that this process may take of a device in all, now; 0: not known
    std::uint64_t taken = 0;     // of these by this backend
    std::uint64_t reserve = 0;   // of these that a plan leaves: for other programs and what the allocator rounds up
};

// What the weights of a graph take on a device, and how much of that is there already for another program.
struct WeightBytes {
    std::uint64_t all = 0;
    std::uint64_t there = 0;
};

// What keeps a graph from running on a backend, however much memory is left.
struct Obstacle {
    ErrorCode code = ErrorCode::unsupported;  // of the error
    std::string text;                         // what of the graph, what of the backend, and what would help
};

// How many KV pages a backend can make at most, however much memory is left.
struct PageLimit {
    std::uint64_t pages = ~std::uint64_t{0};
    std::string why;  // "…: a shader sees no more than 128.0 MiB of a layer's KV cache"
};

// Called with the bytes of weights that were copied since the last call. What it throws ends the copying.
using Copied = std::function<void(std::uint64_t bytes)>;

class Backend {
public:
    virtual ~Backend() = default;
    virtual std::string name() const = 0;  // "cpu"
    virtual std::string isa() const = 0;   // "avx512"
    virtual unsigned threads() const noexcept = 0;
    // The graph must outlive the program.
    virtual std::unique_ptr<Program> compile(const graph::Graph& graph, const Limits& limits) = 0;
    // `groups`: kv_groups() of the graph, or part_of() those of the graph that it is a part of.
    virtual std::unique_ptr<KvMemory> make_kv(const graph::Graph& graph, const KvGroups& groups, KvType type,
                                              std::uint32_t pages) = 0;
    // KvMemory::page_bytes() of such memory.
    virtual std::uint64_t page_bytes(const graph::Graph&, const KvGroups& groups, KvType) const { return groups.page_bytes; }
    virtual PageLimit page_limit(const graph::Graph&, const KvGroups&, KvType) const { return {}; }
    // What compile() would refuse the graph for; takes no memory.
    virtual std::optional<Obstacle> obstacle(const graph::Graph&, const Limits&) const {
        return std::nullopt;
    }
    virtual WeightBytes weight_bytes(const graph::Graph& graph) = 0;
    // Copies the matrices of a graph to the device, but those that are there. They stay as long as what is
    // returned, or a program that was compiled in the meantime. Nothing where weights are not copied
    // (Place::device).
    virtual std::shared_ptr<const void> copy_weights(const graph::Graph&, const Copied&) { return nullptr; }
    virtual Place place() const { return {}; }
    // What Program::scratch_bytes() of compile() would be; takes no memory.
    virtual std::uint64_t scratch_bytes(const graph::Graph& graph, const Limits& limits) = 0;
    // What else a user should know about what computes here: the version and settings of a foreign library.
    virtual std::string info() const { return {}; }
    // What the device can do at most, measured now; empty for the CPU, which benchmarks measure themselves.
    virtual std::optional<DeviceRates> rates() { return std::nullopt; }
    // Whether f32 arithmetic is IEEE 754's with a fused fma, so that operations can give the bits of
    // docs/numerics.md. subnormals: of numbers below 2^-126 as well.
    virtual bool exact_arithmetic() const noexcept { return true; }
    virtual bool exact_subnormals() const noexcept { return true; }
};

struct BackendOptions {
    std::string isa;           // of the CPU; empty: the best
    unsigned threads = 0;      // 0: one per core
    std::string device;        // of a graphics backend: RuntimeOptions::device
    std::string cache_folder;  // RuntimeOptions::cache_folder
    std::function<void(bool warning, const std::string&)> log;
    bool half_products = false;  // RuntimeOptions::half_products
};

// One row per backend: registry.cpp. Error(invalid_argument) naming the known ones; Error(unsupported) for an
// instruction set that this CPU lacks.
std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options);
std::unique_ptr<Backend> make_backend(const std::string& name, const std::string& isa, unsigned threads);

// What a runtime computes with, in the order of a model's layers: the backend alone, or, for one that runs on devices, the
// CPU and then each of the devices that `options.device` names, separated by commas (a comma between parentheses belongs
// to the name). Error(invalid_argument) where two names are of one device, or devices are named for a backend without.
std::vector<std::unique_ptr<Backend>> make_backends(const std::string& name, const BackendOptions& options);

}  // namespace tern::backend
