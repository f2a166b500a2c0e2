#include "backend/vulkan/kv.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/kernel.h"

namespace tern::backend::vulkan {

std::uint32_t kv_words(KvType type, std::uint32_t dim) noexcept { return type == KvType::f32 ? dim : (dim + 1) / 2; }

VulkanKv::VulkanKv(std::shared_ptr<Device> device, const graph::Graph& graph, KvType type, std::uint32_t pages)
    : device_(std::move(device)), type_(type), pages_(pages), groups_(kv_groups(graph, type)), serial_(device_->new_serial()) {
    if (type != KvType::f32 && type != KvType::f16)
        throw Error(ErrorCode::unsupported, "backend 'vulkan' keeps the KV cache as f32 or f16; --kv-type f16 is half of f32");
    std::vector<std::uint32_t> filled(groups_.count(), 0);
    for (std::size_t i = 0; i < graph.kv_layers().size(); ++i) {
        const graph::KvLayer& layer = graph.kv_layers()[i];
        const std::uint32_t slot = filled[groups_.of_layer[i]]++;
        if (slot >= slots_.size()) slots_.emplace_back();
        slot_.push_back(slot);
        const std::uint64_t words = std::uint64_t{kv_words(type, layer.k_dim)} + kv_words(type, layer.v_dim);
        slots_[slot].page_bytes = std::max(slots_[slot].page_bytes, words * 4 * kernels::kPageTokens * layer.heads);
    }
    for (Slot& slot : slots_) {
        const std::uint64_t bytes = slot.page_bytes * pages;
        if (bytes > device_->info().max_binding)
            throw Error(ErrorCode::out_of_memory,
                        fmt::format("{}: a layer's KV cache of {:.1f} MiB is more than the {:.1f} MiB that a shader of this "
                                    "device sees; a smaller context or fewer sequences would need less",
                                    device_->info().name, static_cast<double>(bytes) / MiB,
                                    static_cast<double>(device_->info().max_binding) / MiB));
        slot.buffer = device_->allocate(bytes, Memory::device, "the KV cache");
        page_bytes_ += slot.page_bytes;
    }
}

void VulkanKv::copy_page(std::uint32_t from, std::uint32_t to) {
    device_->run_once([&](VkCommandBuffer commands) {
        for (const Slot& slot : slots_) {
            const std::uint64_t base = slot.buffer.range().offset;
            const VkBufferCopy copy{base + from * slot.page_bytes, base + to * slot.page_bytes, slot.page_bytes};
            device_->api().CmdCopyBuffer(commands, slot.buffer.handle(), slot.buffer.handle(), 1, &copy);
        }
    });
}

void VulkanKv::read_page(std::uint32_t page, std::span<std::byte> to) const {
    for (const Slot& slot : slots_) {
        device_->download(slot.buffer, page * slot.page_bytes, to.first(slot.page_bytes));
        to = to.subspan(slot.page_bytes);
    }
}

void VulkanKv::write_page(std::uint32_t page, std::span<const std::byte> from) {
    for (const Slot& slot : slots_) {
        device_->upload(slot.buffer, page * slot.page_bytes, from.first(slot.page_bytes));
        from = from.subspan(slot.page_bytes);
    }
}

void VulkanKv::move(std::span<const std::uint32_t>, std::uint32_t, std::uint32_t, std::uint32_t) {
    throw Error(ErrorCode::internal, "backend 'vulkan' does not move positions");
}

}  // namespace tern::backend::vulkan
