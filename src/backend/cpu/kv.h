// KV pages in host memory. Page p, layer l, head h: a page of kernels/kernel.h (KvLayout), at
// p * page_bytes + layer_offset[l] + h * head_bytes[l], where p is a page of the layer's group.
#pragma once

#include <vector>

#include "backend/interface.h"
#include "base/aligned_buffer.h"
#include "kernels/kernel.h"

namespace tern::backend::cpu {

kernels::KvType kernel_type(KvType type) noexcept;

class CpuKv final : public KvMemory {
public:
    // The graph must outlive it.
    CpuKv(const graph::Graph& graph, const KvGroups& groups, KvType type, std::uint32_t pages,
          const kernels::KernelTable& kernels);
    std::uint32_t pages() const noexcept override { return pages_; }
    std::uint64_t page_bytes() const noexcept override { return page_bytes_; }
    void copy_page(std::uint32_t from, std::uint32_t to) override;
    void read_page(std::uint32_t page, std::span<std::byte> to) const override;
    void write_page(std::uint32_t page, std::span<const std::byte> from) override;
    bool can_move() const noexcept override;
    void move(std::span<const std::uint32_t> table, std::uint32_t from, std::uint32_t to, std::uint32_t count) override;

    std::byte* block(std::uint32_t page, std::uint32_t layer, std::uint32_t head) const noexcept {
        return memory_.data() + page * page_bytes_ + layer_offset_[layer] + head * head_bytes_[layer];
    }
    // The same for block `block` of a page table.
    std::byte* block(std::span<const std::uint32_t> table, std::size_t index, std::uint32_t layer,
                     std::uint32_t head) const noexcept {
        return block(table[index * groups_.count() + groups_.of_layer[layer]], layer, head);
    }
    kernels::KvType type() const noexcept { return type_; }

private:
    const graph::Graph& graph_;
    const kernels::KernelTable& kernels_;
    kernels::KvType type_;
    std::uint32_t pages_;
    KvGroups groups_;
    std::uint64_t page_bytes_;
    std::vector<std::uint64_t> layer_offset_, head_bytes_;
    base::AlignedBuffer memory_;
};

}  // namespace tern::backend::cpu
