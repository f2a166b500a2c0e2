// KV pages in host memory. Page p, layer l, head h: a page of kernels/kernel.h (KvLayout), at
// p * page_bytes + layer_offset[l] + h * head_bytes[l].
#pragma once

#include <vector>

#include "backend/interface.h"
#include "base/aligned_buffer.h"
#include "kernels/kernel.h"

namespace tern::backend::cpu {

kernels::KvType kernel_type(KvType type) noexcept;

class CpuKv final : public KvMemory {
public:
    CpuKv(const graph::Graph& graph, KvType type, std::uint32_t pages);
    std::uint32_t pages() const noexcept override { return pages_; }
    std::uint64_t page_bytes() const noexcept override { return page_bytes_; }
    void copy_page(std::uint32_t from, std::uint32_t to) override;

    std::byte* block(std::uint32_t page, std::uint32_t layer, std::uint32_t head) const noexcept {
        return memory_.data() + page * page_bytes_ + layer_offset_[layer] + head * head_bytes_[layer];
    }
    kernels::KvType type() const noexcept { return type_; }

private:
    kernels::KvType type_;
    std::uint32_t pages_;
    std::uint64_t page_bytes_ = 0;
    std::vector<std::uint64_t> layer_offset_, head_bytes_;
    base::AlignedBuffer memory_;
};

}  // namespace tern::backend::cpu
