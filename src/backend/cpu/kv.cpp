#include "backend/cpu/kv.h"

#include <cstring>

namespace tern::backend::cpu {

CpuKv::CpuKv(const graph::Graph& graph, KvType type, std::uint32_t pages)
    : type_(type == KvType::f16 ? kernels::KvType::f16 : kernels::KvType::f32), pages_(pages) {
    const std::uint64_t element = type == KvType::f16 ? 2 : 4;
    for (const graph::KvLayer& layer : graph.kv_layers()) {
        layer_offset_.push_back(page_bytes_);
        head_bytes_.push_back((std::uint64_t{layer.k_dim} + layer.v_dim) * kernels::kPageTokens * element);
        page_bytes_ += head_bytes_.back() * layer.heads;
    }
    memory_ = base::AlignedBuffer(page_bytes_ * pages, "the KV cache; a smaller context or f16 needs less");
}

void CpuKv::copy_page(std::uint32_t from, std::uint32_t to) {
    std::memcpy(memory_.data() + to * page_bytes_, memory_.data() + from * page_bytes_, page_bytes_);
}

}  // namespace tern::backend::cpu
