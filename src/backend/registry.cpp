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
    bool on_devices = false;
};
constexpr Row kBackends[] = {
    {"cpu", [](const BackendOptions& o) { return cpu::make_cpu(o.isa, o.threads); }},
    {"vulkan", vulkan::make_vulkan, true},
    {"blas", [](const BackendOptions& o) { return blas::make_blas(o.isa, o.threads); }},
    {"ref", [](const BackendOptions& o) { return cpu::make_ref(o.isa, o.threads); }},
};

const Row& find(const std::string& name) {
    std::string known;
    for (const Row& row : kBackends) {
        if (name == row.name) return row;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    }
    throw Error(ErrorCode::invalid_argument, fmt::format("unknown backend '{}'; known: {}", name, known));
}

std::vector<std::string> names_of(const std::string& list) {
    std::vector<std::string> names{""};
    int depth = 0;
    for (const char c : list) {
        if (c == ',' && depth <= 0) {
            names.emplace_back();
            continue;
        }
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (c != ' ' || !names.back().empty()) names.back() += c;
    }
    return names;
}

std::uint64_t layer_bytes(const graph::KvLayer& layer, KvType type) {
    return layer.heads * std::uint64_t{kernels::kv_layout(cpu::kernel_type(type), layer.k_dim, layer.v_dim).bytes};
}

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& name, const std::string& isa, unsigned threads) {
    return make_backend(name, {.isa = isa, .threads = threads, .device = {}, .cache_folder = {}, .log = {}});
}

std::unique_ptr<Backend> make_backend(const std::string& name, const BackendOptions& options) {
    return find(name).make(options);
}

std::vector<std::unique_ptr<Backend>> make_backends(const std::string& name, const BackendOptions& options) {
    const Row& row = find(name);
    std::vector<std::unique_ptr<Backend>> all;
    if (!row.on_devices) {
        if (!options.device.empty())
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("device '{}' was named, but backend '{}' runs on the CPU; backend 'vulkan' takes a device",
                                    options.device, name));
        if (options.half_products)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("products in half precision were asked for, but backend '{}' has none; "
                                    "backend 'vulkan' does",
                                    name));
        all.push_back(row.make(options));
        return all;
    }
    const std::vector<std::string> names = names_of(options.device);
    BackendOptions one = options;
    for (const std::string& device : names) {
        if (device.empty() && names.size() > 1)
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("'{}': a name in this list of devices is empty", options.device));
        one.device = device;
        std::unique_ptr<Backend> made = row.make(one);
        const Place place = made->place();
        for (const auto& other : all)
            if (other->place().number == place.number)
                throw Error(ErrorCode::invalid_argument,
                            fmt::format("'{}' names device {} ({}) twice; devices of one name are told apart by their numbers",
                                        options.device, place.number, place.name));
        all.push_back(std::move(made));
    }
    // After the devices, which refuse more.
    all.insert(all.begin(), cpu::make_cpu({}, options.threads));
    return all;
}

KvGroups kv_groups(const graph::Graph& graph, KvType type) {
    const auto& layers = graph.kv_layers();
    const auto bytes = [&](const graph::KvLayer& layer) { return layer_bytes(layer, type); };
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

KvGroups part_of(const KvGroups& groups, const graph::Graph& part, std::uint32_t first, KvType type) {
    KvGroups own{.of_layer = {}, .windows = groups.windows};
    std::vector<std::uint64_t> filled(groups.count(), 0);
    for (std::size_t i = 0; i < part.kv_layers().size(); ++i) {
        own.of_layer.push_back(groups.of_layer.at(first + i));
        std::uint64_t& bytes = filled[own.of_layer.back()];
        bytes += layer_bytes(part.kv_layers()[i], type);
        own.page_bytes = std::max(own.page_bytes, bytes);
    }
    return own;
}

}  // namespace tern::backend
