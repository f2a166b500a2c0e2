#pragma once

#include <tern/runtime.h>

#include <memory>
#include <mutex>

#include "backend/interface.h"
#include "base/budget.h"

namespace tern {

struct Runtime::Impl {
    explicit Impl(RuntimeOptions o) : options(std::move(o)), budget(options.memory_budget) {}
    const RuntimeOptions options;
    base::Budget budget;
    std::unique_ptr<backend::Backend> backend;
    std::mutex log_mutex;

    void log(LogLevel level, std::string_view line) noexcept try {
        if (!options.log) return;
        const std::lock_guard lock(log_mutex);
        options.log(level, line);
    } catch (...) {
        // A log line is not worth a request.
    }
};

}  // namespace tern
