#include <fmt/format.h>
#include <tern/error.h>

#include "backend/runtime_impl.h"
#include "backend/vulkan/backend.h"
#include "base/memory.h"
#include "kernels/cpu.h"
#include "kernels/registry.h"

namespace tern {

namespace {
// Beyond this a typing error is likelier than a machine.
constexpr unsigned kMaxThreads = 1024;
}  // namespace

Runtime::Runtime(RuntimeOptions options) {
    if (options.threads > kMaxThreads)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("{} threads asked for; at most {} are possible", options.threads, kMaxThreads));
    impl_ = std::make_shared<Impl>(std::move(options));
    const RuntimeOptions& o = impl_->options;
    impl_->backends = backend::make_backends(
        o.backend, {.isa = o.isa, .threads = o.threads, .device = o.device, .cache_folder = o.cache_folder,
                    .log = [impl = impl_.get()](bool warning, const std::string& text) {
                        impl->log(warning ? LogLevel::warning : LogLevel::info, text);
                    },
                    .half_products = o.half_products});
    if (impl_->backends.size() == 1 && o.gpu_layers.value_or(0) > 0)
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("gpu_layers is {}, but backend '{}' runs on the CPU; backend 'vulkan' has "
                                "devices",
                                *o.gpu_layers, o.backend));
    impl_->log(LogLevel::info, fmt::format("backend {} ({}), {} threads, {}", backend(), isa(), threads(), cpu_name()));
    for (const auto& one : impl_->backends)
        if (const std::string info = one->info(); !info.empty()) impl_->log(LogLevel::info, info);
}

std::vector<DeviceInfo> list_devices() {
    DeviceInfo cpu{.backend = "cpu", .name = kernels::detect_cpu().name, .kind = "cpu", .memory = base::available_memory()};
    const kernels::IsaList list = kernels::isas(kernels::detect_cpu());
    for (std::size_t i = 0; i < list.count; ++i)
        if (list.items[i].usable)
            cpu.enabled.emplace_back(list.items[i].name);
        else
            cpu.disabled.push_back(fmt::format("{}: not on this CPU", list.items[i].name));
    cpu.chosen = true;
    std::vector<DeviceInfo> all{std::move(cpu)};
    for (DeviceInfo& d : backend::vulkan::vulkan_devices()) all.push_back(std::move(d));
    return all;
}

unsigned Runtime::threads() const noexcept { return impl_->backend().threads(); }
std::string Runtime::backend() const { return impl_->backend().name(); }
std::string Runtime::isa() const { return impl_->backend().isa(); }
std::string Runtime::backend_info() const { return impl_->backend().info(); }
std::optional<DeviceRates> Runtime::device_rates() const { return impl_->backend().rates(); }
std::string Runtime::cpu_name() const { return kernels::detect_cpu().name; }

}  // namespace tern
