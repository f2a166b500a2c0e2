// A graph compiled for a Vulkan device: a list of dispatches, recorded into command buffers that are kept and
// run again.
//
// Numbers that change with the batch are not recorded: shaders read them from the batch buffer, and the sizes
// of the dispatches lie in a buffer, too. What depends on the size of the batch is which shader a matrix
// product uses; there is one recording for each such choice.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backend/interface.h"
#include "backend/vulkan/device.h"
#include "backend/vulkan/self_test.h"
#include "backend/vulkan/weights.h"

namespace tern::backend::vulkan {

class VulkanKv;

// Weights on the device, shared by the programs that use them.
class WeightStore {
public:
    explicit WeightStore(std::shared_ptr<Device> device) : device_(std::move(device)) {}
    // Copies it where it is not there. Error(unsupported) for a format without a shader.
    std::shared_ptr<const DeviceWeight> get(const graph::Weight& weight, const Copied& copied = {});
    // Backend::copy_weights. The device is locked for one weight at a time.
    std::shared_ptr<const void> copy(const graph::Graph& graph, const Copied& copied);
    // Of all weights of a program; takes nothing.
    WeightBytes bytes(const graph::Graph& graph);

private:
    std::shared_ptr<Device> device_;
    struct Key {
        const void* data;
        std::uint64_t rows, cols;
        DType dtype;
        auto operator<=>(const Key&) const = default;
    };
    std::map<Key, std::weak_ptr<const DeviceWeight>> known_;
};

class VulkanProgram final : public Program {
public:
    // `path`: of all products, as self-tests want; else those that are right on the device.
    VulkanProgram(const graph::Graph& graph, const Limits& limits, std::shared_ptr<Device> device,
                  WeightStore& weights, ProductPaths& paths, std::optional<ProductPath> path = {});
    ~VulkanProgram() override;
    std::span<const float> run(const Batch& batch, KvMemory& kv) override;
    std::uint64_t scratch_bytes() const noexcept override;
    // What scratch_bytes() of such a program would be; takes nothing.
    static std::uint64_t scratch_bytes(const graph::Graph& graph, const Limits& limits,
                                       const DeviceInfo& device, bool half);
    // Backend::obstacle().
    static std::optional<Obstacle> obstacle(const DeviceInfo& device, const graph::Graph& graph,
                                            const Limits& limits);

private:
    // Quantised rows: all products of one kind share a buffer.
    struct QuantKind {
        Activations form = Activations::f32;
        std::uint32_t block = 0;  // numbers that share a scale; 0: a row
        auto operator<=>(const QuantKind&) const = default;
    };
    // The shader of a product.
    struct Product {
        ProductPath path = ProductPath::buffers;
        QuantKind quantised;
    };
    // How many rows a product has, and whether any sequence has more than one token: choices that are
    // recorded.
    struct Shape {
        std::uint32_t tokens = 0, outputs = 0;  // classes
        bool pieces = false;
        auto operator<=>(const Shape&) const = default;
    };
    // Of one run.
    struct Counts {
        std::uint32_t tokens = 0, outputs = 0, blocks = 0;
    };
    struct Recording;
    struct Dispatch;
    class Recorder;
    using Groups = std::array<std::uint32_t, 3>;

    void plan(const std::function<std::uint64_t(std::uint64_t)>& align);
    void record(Recording& recording, const Shape& shape, const VulkanKv& kv);
    void forget() noexcept;
    std::uint32_t write_batch(const Batch& batch, bool pieces, const VulkanKv& kv);
    Product product(const graph::Op& op, bool many) const;
    std::uint32_t token_class(std::uint32_t n) const noexcept;
    Range value(graph::Value v) const;
    const graph::Op& producer(graph::Value v) const { return *producer_[static_cast<std::size_t>(v.id)]; }

    const graph::Graph& graph_;
    const Limits limits_;
    std::shared_ptr<Device> device_;
    std::map<const graph::Op*, std::shared_ptr<const DeviceWeight>> weights_;
    std::map<DType, ProductChoice> paths_;
    bool tiles_ = false;  // whether any product has a path of its own for many tokens
    std::map<const graph::Op*, Buffer> vectors_;  // F32 weights that shaders read as they are (norms)
    std::map<const graph::Op*, Buffer> biases_;
    std::vector<const graph::Op*> producer_;
    graph::Plan plan_;
    Buffer arena_, angles_, batch_, logits_, input_;  // the last: rows from outside
    std::map<QuantKind, Buffer> quants_;
    std::vector<std::uint32_t> angle_offset_;         // in floats, by rope
    std::map<Shape, std::unique_ptr<Recording>> recordings_;
    std::uint64_t kv_serial_ = 0;  // of the cache that they were recorded for
};

}  // namespace tern::backend::vulkan
