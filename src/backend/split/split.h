// A model whose layers lie on several backends: consecutive parts of its graph (graph/cut.h), run one after the other on
// the same batch, the rows of one the input of the next. Page tables are those of the whole graph: page p is page p of
// every part's KV memory.
#pragma once

#include <optional>
#include <span>

#include "backend/interface.h"

namespace tern::backend::split {

// Which layers are where: `layers` consecutive ones on each backend, in the order of the backends. The first that has any
// has what comes before layer 0, too, and the last that has any the output.
struct Layout {
    std::vector<std::uint32_t> layers;
    bool embedding = false;  // the first backend has what comes before layer 0, even where it has no layer
    bool operator==(const Layout&) const = default;
};

struct Part {
    Backend* backend = nullptr;
    std::size_t index = 0;  // of the backend
    std::uint32_t first = 0, layers = 0;
    const graph::Graph* graph = nullptr;
    KvGroups groups;
};

// The parts that a layout gives. Movable; the graph and the backends must outlive it, and it what is made of it.
class Parts {
public:
    Parts() = default;
    // `groups`: kv_groups() of the graph. Error(unsupported) where the graph cannot be cut there.
    Parts(std::span<const std::unique_ptr<Backend>> backends, const graph::Graph& graph, const KvGroups& groups, KvType type,
          const Layout& layout);

    std::span<const Part> parts() const noexcept { return parts_; }

    // `progress`: as of copy_weights().
    std::unique_ptr<Program> compile(const Limits& limits,
                                     const std::function<bool(double)>& progress = {}) const;
    std::unique_ptr<KvMemory> make_kv(std::uint32_t pages) const;

private:
    KvType type_ = KvType::f16;
    std::unique_ptr<std::vector<graph::Graph>> graphs_;  // none where there is one part
    std::vector<Part> parts_;
};

// Copies the weights of all parts to their devices (Backend::copy_weights) and calls `progress` with the
// fraction of them that is there, one count for all devices; not at all where nothing is to be copied.
// Error(cancelled) when it returns false.
std::vector<std::shared_ptr<const void>> copy_weights(std::span<const Part> parts,
                                                      const std::function<bool(double)>& progress);

// Whether the graph can be cut before each of its layers.
bool can_split(const graph::Graph& graph);

// `layers` of `total` at the end on the devices (all backends but the first), shared in proportion to their weight, as
// even as whole layers allow; the rest on the first backend. More layers than there are: everything on the devices.
Layout last_layers(std::uint32_t total, std::uint64_t layers, std::span<const std::uint64_t> device_weights);

}  // namespace tern::backend::split
