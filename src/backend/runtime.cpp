#include <fmt/format.h>
#include <tern/error.h>

#include "backend/runtime_impl.h"
#include "kernels/cpu.h"

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
    impl_->backend = backend::make_backend(
        o.backend, {.isa = o.isa, .threads = o.threads, .device = o.device, .cache_folder = o.cache_folder,
                    .log = [impl = impl_.get()](bool warning, const std::string& text) {
                        impl->log(warning ? LogLevel::warning : LogLevel::info, text);
                    }});
    impl_->log(LogLevel::info, fmt::format("backend {} ({}), {} threads, {}", backend(), isa(), threads(), cpu_name()));
    if (const std::string info = backend_info(); !info.empty()) impl_->log(LogLevel::info, info);
}

unsigned Runtime::threads() const noexcept { return impl_->backend->threads(); }
std::string Runtime::backend() const { return impl_->backend->name(); }
std::string Runtime::isa() const { return impl_->backend->isa(); }
std::string Runtime::backend_info() const { return impl_->backend->info(); }
std::string Runtime::cpu_name() const { return kernels::detect_cpu().name; }

}  // namespace tern
