// KV pages on the device. The layers of a group are its slots 0, 1, …; slot j of all groups shares one buffer
// of `pages` pages of the largest such layer, so that a page number means the same everywhere. A layer's page
// is, for each KV head, 32-bit words: keys, dimension-major with one word per position, [words of k_dim][64],
// then values, position-major, [64][words of v_dim]. f32 has one dimension in a word, f16 two neighbours,
// q8_0 four and q4_0 eight, the first one lowest. These two have words of two f16 scales, of neighbouring
// blocks of 32 dimensions, after the keys, [scale words of k_dim][64], and after the values, [64][scale words
// of v_dim].
#pragma once

#include <vector>

#include "backend/interface.h"
#include "backend/vulkan/device.h"

namespace tern::backend::vulkan {

// Words of one position's keys or values of `dim` dimensions.
std::uint32_t kv_words(KvType type, std::uint32_t dim) noexcept;
std::uint32_t kv_scale_words(KvType type, std::uint32_t dim) noexcept;
// How the shaders share them out (shaders/kv.glsl): invocations that store them, units of values that lanes
// sum up.
std::uint32_t kv_parts(KvType type, std::uint32_t dim) noexcept;
std::uint32_t kv_units(KvType type, std::uint32_t dim) noexcept;
const char* kv_variant(KvType type) noexcept;  // in the names of the shaders

class VulkanKv final : public KvMemory {
public:
    VulkanKv(std::shared_ptr<Device> device, const graph::Graph& graph, const KvGroups& groups, KvType type,
             std::uint32_t pages);
    // What page_bytes() of such memory would be; takes nothing.
    static std::uint64_t page_bytes(const graph::Graph& graph, const KvGroups& groups, KvType type);
    // A slot's pages must fit one binding, and one allocation.
    static PageLimit page_limit(const DeviceInfo& device, const graph::Graph& graph, const KvGroups& groups,
                                KvType type);
    std::uint32_t pages() const noexcept override { return pages_; }
    std::uint64_t page_bytes() const noexcept override { return page_bytes_; }
    void copy_page(std::uint32_t from, std::uint32_t to) override;
    void read_page(std::uint32_t page, std::span<std::byte> to) const override;
    void write_page(std::uint32_t page, std::span<const std::byte> from) override;
    bool can_move() const noexcept override;
    void move(std::span<const std::uint32_t> table, std::uint32_t from, std::uint32_t to,
              std::uint32_t count) override;

    KvType type() const noexcept { return type_; }
    Range range(std::uint32_t layer) const noexcept { return slots_[slot_[layer]].buffer.range(); }
    std::uint32_t page_words(std::uint32_t layer) const noexcept {
        return static_cast<std::uint32_t>(slots_[slot_[layer]].page_bytes / 4);
    }
    const KvGroups& groups() const noexcept { return groups_; }
    std::uint64_t serial() const noexcept { return serial_; }

private:
    struct Slot {
        std::uint64_t page_bytes = 0;
        Buffer buffer;
    };
    std::shared_ptr<Device> device_;
    const graph::Graph& graph_;
    KvType type_;
    std::uint32_t pages_;
    KvGroups groups_;
    std::vector<std::uint32_t> slot_;  // layer -> slot
    std::vector<Slot> slots_;
    std::uint64_t page_bytes_ = 0, serial_ = 0;
};

}  // namespace tern::backend::vulkan
