#include "backend/cpu/kv.h"

#include <cstring>

namespace tern::backend::cpu {

kernels::KvType kernel_type(KvType type) noexcept {
    switch (type) {
        case KvType::f32: return kernels::KvType::f32;
        case KvType::f16: return kernels::KvType::f16;
        case KvType::q8_0: break;
    }
    return kernels::KvType::q8_0;
}

CpuKv::CpuKv(const graph::Graph& graph, KvType type, std::uint32_t pages)
    : type_(kernel_type(type)), pages_(pages) {
    for (const graph::KvLayer& layer : graph.kv_layers()) {
        layer_offset_.push_back(page_bytes_);
        head_bytes_.push_back(kernels::kv_layout(type_, layer.k_dim, layer.v_dim).bytes);
        page_bytes_ += head_bytes_.back() * layer.heads;
    }
    memory_ = base::AlignedBuffer(page_bytes_ * pages, "the KV cache; a smaller context or a shorter type needs less");
}

void CpuKv::copy_page(std::uint32_t from, std::uint32_t to) {
    std::memcpy(memory_.data() + to * page_bytes_, memory_.data() + from * page_bytes_, page_bytes_);
}

}  // namespace tern::backend::cpu
