#include <fmt/format.h>
#include <tern/error.h>

#include <limits>
#include <map>

#include "backend/blas/backend.h"
#include "backend/cpu/backend.h"
#include "backend/cpu/kv.h"
#include "backend/interface.h"
#include "backend/vulkan/backend.h"

namespace tern::backend {
namespace {

struct Row {
    const char* name;
    std::unique_ptr<Backend> (*make)(const BackendOptions& options);
};
constexpr Row kBackends[] = {
    {"cpu", [](const BackendOptions& o) { return cpu::make_cpu(o.isa, o.threads); }},
    {"vulkan", vulkan::make_vulkan},
    {"blas", [](const BackendOptions& o) { return blas::make_blas(o.isa, o.threads); }},
    {"ref", [](const BackendOptions& o) { return cpu::make_ref(o.isa, o.threads); }},
};

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& name, const std::string& isa, unsigned threads) {
    return make_backend(name, {.isa = isa, .threads = threads, .device = {}, .cache_folder = {}, .log = {}});
}

std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options) {
    std::string known;
    for (const Row& row : kBackends) {
        if (name == row.name) return row.make(options);
        known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    }
    throw Error(ErrorCode::invalid_argument, fmt::format("unknown backend '{}'; known: {}", name, known));
}

KvGroups kv_groups(const graph::Graph& graph, KvType type) {
    const auto& layers = graph.kv_layers();
    const auto bytes = [&](const graph::KvLayer& layer) {
        return layer.heads * std::uint64_t{kernels::kv_layout(cpu::kernel_type(type), layer.k_dim, layer.v_dim).bytes};
    };
    std::map<std::uint32_t, std::uint64_t> by_window;
    for (const graph::KvLayer& layer : layers) by_window[layer.window] += bytes(layer);
    KvGroups groups;
    groups.of_layer.resize(layers.size());
    if (layers.empty()) {
        groups.windows = {0};
        return groups;
    }
    std::uint64_t target = std::numeric_limits<std::uint64_t>::max();
    for (const auto& [window, total] : by_window) target = std::min(target, total);
    for (const auto& [window, total] : by_window) {
        std::uint64_t filled = target;
        for (std::size_t i = 0; i < layers.size(); ++i) {
            if (layers[i].window != window) continue;
            if (filled + bytes(layers[i]) > target) {
                groups.windows.push_back(window);
                filled = 0;
            }
            filled += bytes(layers[i]);
            groups.of_layer[i] = groups.count() - 1;
            groups.page_bytes = std::max(groups.page_bytes, filled);
        }
    }
    return groups;
}

}  // namespace tern::backend
