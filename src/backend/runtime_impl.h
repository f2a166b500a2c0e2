#pragma once

#include <tern/runtime.h>

#include <memory>
#include <mutex>
#include <vector>

#include "backend/interface.h"
#include "base/budget.h"

namespace tern {

struct Runtime::Impl {
    explicit Impl(RuntimeOptions o) : options(std::move(o)), budget(options.memory_budget) {}
    RuntimeOptions options;
    base::Budget budget;
    std::vector<std::unique_ptr<backend::Backend>> backends;  // backend::make_backends
    std::mutex log_mutex;

    // The one that was asked for.
    backend::Backend& backend() const noexcept { return *backends[backends.size() > 1 ? 1 : 0]; }

    void log(LogLevel level, std::string_view line) noexcept try {
        if (!options.log) return;
        const std::lock_guard lock(log_mutex);
        options.log(level, line);
    } catch (...) {
        // A log line is not worth a request.
    }
};

}  // namespace tern
