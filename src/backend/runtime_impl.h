#pragma once

#include <tern/runtime.h>

#include <memory>
#include <mutex>

#include "backend/interface.h"

namespace tern {

struct Runtime::Impl {
    RuntimeOptions options;
    std::unique_ptr<backend::Backend> backend;
    std::mutex log_mutex;

    void log(LogLevel level, std::string_view line) {
        if (!options.log) return;
        const std::lock_guard lock(log_mutex);
        options.log(level, line);
    }
};

}  // namespace tern
