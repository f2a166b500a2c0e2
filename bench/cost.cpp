#include "bench/cost.h"

#include <algorithm>
#include <cmath>

namespace tern::bench {
namespace {

// Of the KV cache; q8_0 and q4_0 have an f16 scale for 32 elements (for as many as there are of a shorter last block).
double element_bytes(KvType type) {
    if (type == KvType::f32) return 4;
    if (type == KvType::f16) return 2;
    return (type == KvType::q8_0 ? 1.0 : 0.5) + 2.0 / 32;
}

}  // namespace

Cost step_cost(const ModelInfo& model, double tokens, double outputs, double positions, KvType kv_type) {
    Cost cost{static_cast<double>(model.token_bytes), tokens * static_cast<double>(model.token_flops)};
    cost.operations -= (tokens - outputs) * 2.0 * model.vocab_size * model.width;
    if (model.experts > 0) {
        const double share = static_cast<double>(model.experts_used) / model.experts;
        cost.bytes += static_cast<double>(model.expert_bytes) * (1 - std::pow(1 - share, tokens) - share);
    }
    cost.bytes += positions * model.layers * model.kv_heads * (model.k_dim + model.v_dim) * element_bytes(kv_type);
    return cost;
}

Cost prompt_cost(const ModelInfo& model, std::uint32_t tokens, std::uint32_t sequences, std::uint32_t batch, KvType kv_type) {
    Cost cost;
    double outputs = sequences;  // of the last tokens
    for (std::uint64_t left = std::uint64_t{tokens} * sequences; left > 0;) {
        const std::uint64_t now = std::min<std::uint64_t>(left, batch);
        cost += step_cost(model, static_cast<double>(now), std::min(outputs, static_cast<double>(now)), 0, kv_type);
        outputs -= std::min(outputs, static_cast<double>(now));
        left -= now;
    }
    return cost;
}

}  // namespace tern::bench
