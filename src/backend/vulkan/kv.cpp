#include "backend/vulkan/kv.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/kernel.h"

namespace tern::backend::vulkan {

namespace {

constexpr bool has_blocks(KvType type) { return type == KvType::q8_0 || type == KvType::q4_0; }

}  // namespace

std::uint32_t kv_words(KvType type, std::uint32_t dim) noexcept {
    const std::uint32_t in_word = type == KvType::f32 ? 1 : type == KvType::f16 ? 2 : type == KvType::q8_0 ? 4 : 8;
    return (dim + in_word - 1) / in_word;
}
std::uint32_t kv_scale_words(KvType type, std::uint32_t dim) noexcept { return has_blocks(type) ? (dim + 63) / 64 : 0; }
std::uint32_t kv_parts(KvType type, std::uint32_t dim) noexcept {
    return has_blocks(type) ? kv_scale_words(type, dim) : kv_words(type, dim);
}
std::uint32_t kv_units(KvType type, std::uint32_t dim) noexcept {
    return has_blocks(type) ? (dim + 3) / 4 : kv_words(type, dim);
}
const char* kv_variant(KvType type) noexcept {
    return type == KvType::f32 ? "F32" : type == KvType::f16 ? "F16" : type == KvType::q8_0 ? "Q8_0" : "Q4_0";
}

VulkanKv::VulkanKv(std::shared_ptr<Device> device, const graph::Graph& graph, KvType type, std::uint32_t pages)
    : device_(std::move(device)), type_(type), pages_(pages), groups_(kv_groups(graph, type)), serial_(device_->new_serial()) {
    std::vector<std::uint32_t> filled(groups_.count(), 0);
    for (std::size_t i = 0; i < graph.kv_layers().size(); ++i) {
        const graph::KvLayer& layer = graph.kv_layers()[i];
        const std::uint32_t slot = filled[groups_.of_layer[i]]++;
        if (slot >= slots_.size()) slots_.emplace_back();
        slot_.push_back(slot);
        std::uint64_t words = 0;
        for (const std::uint32_t dim : {layer.k_dim, layer.v_dim}) words += kv_words(type, dim) + kv_scale_words(type, dim);
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
