#include <fmt/format.h>
#include <tern/error.h>

#include "backend/blas/backend.h"
#include "backend/cpu/backend.h"
#include "backend/cpu/kv.h"
#include "backend/interface.h"

namespace tern::backend {
namespace {

struct Row {
    const char* name;
    std::unique_ptr<Backend> (*make)(const std::string& isa, unsigned threads);
};
constexpr Row kBackends[] = {
    {"cpu", cpu::make_cpu},
    {"blas", blas::make_blas},
    {"ref", cpu::make_ref},
};

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& name, const std::string& isa, unsigned threads) {
    std::string known;
    for (const Row& row : kBackends) {
        if (name == row.name) return row.make(isa, threads);
        known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    }
    throw Error(ErrorCode::invalid_argument, fmt::format("unknown backend '{}'; known: {}", name, known));
}

std::uint64_t kv_page_bytes(const graph::Graph& graph, KvType type) noexcept {
    std::uint64_t bytes = 0;
    for (const graph::KvLayer& layer : graph.kv_layers())
        bytes += layer.heads * std::uint64_t{kernels::kv_layout(cpu::kernel_type(type), layer.k_dim, layer.v_dim).bytes};
    return bytes;
}

}  // namespace tern::backend
