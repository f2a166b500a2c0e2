#include "backend/cpu/kv.h"

#include <cstring>

#include "kernels/formats/half.h"

namespace tern::backend::cpu {

kernels::KvType kernel_type(KvType type) noexcept {
    switch (type) {
        case KvType::f32: return kernels::KvType::f32;
        case KvType::f16: return kernels::KvType::f16;
        case KvType::q8_0: return kernels::KvType::q8_0;
        case KvType::q4_0: break;
    }
    return kernels::KvType::q4_0;
}

CpuKv::CpuKv(const graph::Graph& graph, const KvGroups& groups, KvType type, std::uint32_t pages,
             const kernels::KernelTable& kernels)
    : graph_(graph), kernels_(kernels), type_(kernel_type(type)), pages_(pages), groups_(groups),
      page_bytes_(groups_.page_bytes) {
    std::vector<std::uint64_t> filled(groups_.count(), 0);
    for (std::size_t i = 0; i < graph.kv_layers().size(); ++i) {
        const graph::KvLayer& layer = graph.kv_layers()[i];
        std::uint64_t& offset = filled[groups_.of_layer[i]];
        layer_offset_.push_back(offset);
        head_bytes_.push_back(kernels::kv_layout(type_, layer.k_dim, layer.v_dim).bytes);
        offset += head_bytes_.back() * layer.heads;
    }
    memory_ = base::AlignedBuffer(page_bytes_ * pages, "the KV cache; a smaller context or a shorter type needs less");
}

void CpuKv::copy_page(std::uint32_t from, std::uint32_t to) {
    std::memcpy(memory_.data() + to * page_bytes_, memory_.data() + from * page_bytes_, page_bytes_);
}

void CpuKv::read_page(std::uint32_t page, std::span<std::byte> to) const {
    std::memcpy(to.data(), memory_.data() + page * page_bytes_, page_bytes_);
}

void CpuKv::write_page(std::uint32_t page, std::span<const std::byte> from) {
    std::memcpy(memory_.data() + page * page_bytes_, from.data(), page_bytes_);
}

bool CpuKv::can_move() const noexcept {
    for (const graph::KvLayer& layer : graph_.kv_layers())
        if (layer.rope < 0 || layer.window != 0) return false;
    return true;
}

void CpuKv::move(std::span<const std::uint32_t> table, std::uint32_t from, std::uint32_t to, std::uint32_t count) {
    constexpr std::size_t kPage = kernels::kPageTokens, kScale = kernels::kKvBlock;
    std::vector<float> key, value, cos;
    for (std::uint32_t l = 0; l < graph_.kv_layers().size(); ++l) {
        const graph::KvLayer& layer = graph_.kv_layers()[l];
        const auto r = static_cast<std::size_t>(layer.rope);
        const graph::Rope& rope = graph_.ropes()[r];
        const std::size_t half = rope.inv_freq.size();
        const kernels::KvLayout at = kernels::kv_layout(type_, layer.k_dim, layer.v_dim);
        const std::size_t v_scales = (layer.v_dim + kScale - 1) / kScale;
        key.resize(layer.k_dim);
        value.assign(layer.v_dim, 0.0f);
        cos.resize(2 * half);
        // The keys were multiplied by the rope's factor when they were first rotated; it is not applied again.
        kernels::rope_table(rope.inv_freq.data(), half, -static_cast<double>(from - to), 1.0f, cos.data(), cos.data() + half);
        for (std::uint32_t h = 0; h < layer.heads; ++h)
            for (std::uint32_t i = 0; i < count; ++i) {
                const std::size_t source = (from + i) % kPage, target = (to + i) % kPage;
                const std::byte* old = block(table, (from + i) / kPage, l, h);
                std::byte* next = block(table, (to + i) / kPage, l, h);
                for (std::size_t d = 0; d < layer.k_dim; ++d) {
                    const std::size_t element = d * kPage + source;
                    std::uint16_t bits;
                    if (type_ == kernels::KvType::f32) {
                        std::memcpy(&key[d], old + element * sizeof(float), sizeof(float));
                    } else if (type_ == kernels::KvType::f16) {
                        std::memcpy(&bits, old + element * sizeof bits, sizeof bits);
                        key[d] = kernels::f16_to_f32(bits);
                    } else {
                        std::memcpy(&bits, old + at.k_scales + (d / kScale * kPage + source) * sizeof bits, sizeof bits);
                        const bool halves = type_ == kernels::KvType::q4_0;
                        int q = static_cast<std::int8_t>(old[halves ? d / 2 * kPage + source : element]);
                        if (halves) q = (q >> (d % 2 ? 4 : 0) & 15) - 8;
                        key[d] = kernels::f16_to_f32(bits) * static_cast<float>(q);
                    }
                }
                kernels_.rope(key.data(), 1, layer.k_dim, half * 2, cos.data(), cos.data() + half, rope.mode);
                kernels_.kv_store(next, type_, layer.k_dim, layer.v_dim, target, key.data(), value.data());
                std::memmove(next + at.v + target * at.v_row, old + at.v + source * at.v_row, at.v_row);
                if (type_ == kernels::KvType::q8_0 || type_ == kernels::KvType::q4_0)
                    std::memmove(next + at.v_scales + target * v_scales * 2, old + at.v_scales + source * v_scales * 2,
                                 v_scales * 2);
            }
    }
}

}  // namespace tern::backend::cpu
