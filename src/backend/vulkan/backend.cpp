#include "backend/vulkan/backend.h"

#include <fmt/format.h>
#include <tern/error.h>

#include <algorithm>

#include "backend/vulkan/device.h"
#include "backend/vulkan/kv.h"
#include "backend/vulkan/program.h"
#include "backend/vulkan/rates.h"

namespace tern::backend::vulkan {
namespace {

constexpr std::uint64_t kLeastReserve = 128 * tern::MiB;

class VulkanBackend final : public Backend {
public:
    VulkanBackend(std::shared_ptr<Device> device, std::optional<ProductPath> path, bool half)
        : device_(std::move(device)), weights_(device_), paths_(device_, weights_) {
        if (path) paths_.force(*path);
        if (half) paths_.prefer_half();
    }

    std::string name() const override { return "vulkan"; }
    std::string isa() const override { return paths_.forced() ? info_of(*paths_.forced()).name : "spirv"; }
    std::string info() const override {
        const DeviceInfo& d = device_->info();
        return fmt::format("{} ({}, {}, {:.1f} GiB, subgroups of {})", d.name, d.kind, d.driver,
                           static_cast<double>(d.memory) / GiB, d.subgroup);
    }
    unsigned threads() const noexcept override { return 1; }
    bool exact_arithmetic() const noexcept override {
        return device_->info().arithmetic.exact && !paths_.half();
    }
    bool exact_subnormals() const noexcept override { return device_->info().arithmetic.subnormals; }
    std::optional<DeviceRates> rates() override { return measure_rates(*device_); }
    std::unique_ptr<Program> compile(const graph::Graph& graph, const Limits& limits) override {
        return std::make_unique<VulkanProgram>(graph, limits, device_, weights_, paths_);
    }
    std::unique_ptr<KvMemory> make_kv(const graph::Graph& graph, const KvGroups& groups, KvType type,
                                      std::uint32_t pages) override {
        return std::make_unique<VulkanKv>(device_, graph, groups, type, pages);
    }
    std::uint64_t page_bytes(const graph::Graph& graph, const KvGroups& groups, KvType type) const override {
        return VulkanKv::page_bytes(graph, groups, type);
    }
    PageLimit page_limit(const graph::Graph& graph, const KvGroups& groups, KvType type) const override {
        return VulkanKv::page_limit(device_->info(), graph, groups, type);
    }
    std::optional<Obstacle> obstacle(const graph::Graph& graph, const Limits& limits) const override {
        return VulkanProgram::obstacle(device_->info(), graph, limits);
    }
    WeightBytes weight_bytes(const graph::Graph& graph) override { return weights_.bytes(graph); }
    std::shared_ptr<const void> copy_weights(const graph::Graph& graph, const Copied& copied) override {
        return weights_.copy(graph, copied);
    }
    Place place() const override {
        const std::lock_guard lock(device_->mutex());
        const DeviceInfo& d = device_->info();
        const std::uint64_t memory = device_->budget().value_or(d.memory);
        return {.name = d.name,
                .number = d.number,
                .device = true,
                .shares_memory = d.software || d.kind == "integrated",
                .memory = memory,
                .taken = device_->allocated(),
                .reserve = std::max(memory / 20, kLeastReserve)};
    }
    std::uint64_t scratch_bytes(const graph::Graph& graph, const Limits& limits) override {
        return VulkanProgram::scratch_bytes(graph, limits, device_->info(), paths_.half());
    }

private:
    const std::shared_ptr<Device> device_;
    WeightStore weights_;
    ProductPaths paths_;
};

// None: the best one.
std::optional<ProductPath> path_of(const std::string& isa) {
    if (isa.empty() || isa == "spirv") return {};
    std::string known = "spirv";
    for (const ProductPathInfo& path : all_product_paths()) {
        if (isa == path.name) return path.path;
        known += fmt::format(", {}", path.name);
    }
    throw Error(ErrorCode::invalid_argument,
                fmt::format("backend 'vulkan' has no instruction set '{}'; known: {}", isa, known));
}

}  // namespace

std::vector<tern::DeviceInfo> vulkan_devices() {
    std::string why;
    const std::vector<DeviceInfo> found = list_devices(why);
    std::vector<tern::DeviceInfo> list;
    if (found.empty()) list.push_back({.backend = "vulkan", .unusable = why});
    const std::size_t chosen = choose_device(found);
    for (std::size_t i = 0; i < found.size(); ++i) {
        const DeviceInfo& d = found[i];
        tern::DeviceInfo info{.backend = "vulkan",
                              .name = d.name,
                              .kind = d.software ? "software" : d.kind,
                              .driver = d.driver,
                              .memory = d.memory,
                              .budget = d.budget.value_or(0),
                              .enabled = {},
                              .disabled = {},
                              .unusable = d.unusable,
                              .chosen = i == chosen};
        info.enabled.push_back(fmt::format("subgroups of {}", d.subgroup));
        info.enabled.push_back(d.software ? "products through texels" : "products through storage buffers");
        if (d.subgroup_size_control)
            info.enabled.push_back("subgroup size control");
        else
            info.disabled.push_back("subgroup size control: not supported by the driver");
        if (d.budget)
            info.enabled.push_back("memory budget");
        else
            info.disabled.push_back(
                "memory budget: not supported by the driver, so all of its memory counts as free");
        if (d.fp16)
            info.enabled.push_back(
                lacks(ProductPath::matrix, d).empty()
                    ? fmt::format("half precision on request (cooperative matrices of {}x{}x{})", d.matrix.m,
                                  d.matrix.n, d.matrix.k)
                    : "half precision on request (fp16)");
        else
            info.disabled.push_back("half precision: no fp16 arithmetic with this driver");
        if (d.integer_dot && !d.software)
            info.enabled.push_back("integer dot products");
        else
            info.disabled.push_back(d.integer_dot_supported
                                        ? "integer dot products: not accelerated by the device"
                                        : "integer dot products: not supported by the driver");
        if (const std::string missing = lacks(ProductPath::matrix, d); !missing.empty())
            info.disabled.push_back(d.matrix ? fmt::format("cooperative matrices: products need {}", missing)
                                             : "cooperative matrices: not supported by the driver");
        if (d.unusable.empty()) {
            try {
                const auto open = Device::open({std::to_string(i), {}, {}});
                const Arithmetic& a = open->info().arithmetic;
                if (a.exact)
                    info.enabled.push_back(
                        fmt::format("the CPU's arithmetic{}{}", a.doubles ? ", fma by doubles" : "",
                                    a.subnormals ? "" : ", but for numbers below 2^-126"));
                else
                    info.disabled.push_back("the CPU's arithmetic: " + a.why);
            } catch (const Error& e) {
                info.unusable = e.what();
            }
        }
        list.push_back(std::move(info));
    }
    return list;
}

std::unique_ptr<Backend> make_vulkan_on(std::shared_ptr<Device> device, const std::string& isa, bool half) {
    const std::optional<ProductPath> path = path_of(isa);
    const std::string missing = path ? lacks(*path, device->info()) : std::string();
    if (!missing.empty())
        throw Error(ErrorCode::unsupported,
                    fmt::format("{}: '{}' needs {}", device->info().name, isa, missing));
    if (half && path && !info_of(*path).half)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("products in half precision were asked for, and instruction set '{}', whose "
                                "are exact; 'half' and 'matrix' are not",
                                isa));
    if (const std::string no_half = lacks(ProductPath::half, device->info()); half && !no_half.empty())
        device->log(true, fmt::format("{}: products in half precision need {}; they stay exact",
                                      device->info().name, no_half));
    return std::make_unique<VulkanBackend>(std::move(device), path, half);
}

std::unique_ptr<Backend> make_vulkan(const BackendOptions& options) {
    path_of(options.isa);  // before the device is opened
    return make_vulkan_on(Device::open({options.device, options.cache_folder, options.log}), options.isa,
                          options.half_products);
}

}  // namespace tern::backend::vulkan
