// The Vulkan device that tests use: Mesa's lavapipe, or what TERN_TEST_VULKAN_DEVICE names.
#pragma once

#include <cstdlib>
#include <string>

#include <tern/error.h>
#include <tern/runtime.h>

namespace tern::test {

inline std::string vulkan_device() {
    const char* name = std::getenv("TERN_TEST_VULKAN_DEVICE");
    return name ? name : "llvmpipe";
}

// Empty where tests can run on it, else why not.
inline const std::string& no_vulkan() {
    static const std::string why = []() -> std::string {
        if (!TERN_TESTS_VULKAN) return "this build has no backend vulkan";
        try {
            Runtime({.backend = "vulkan", .device = vulkan_device()});
            return {};
        } catch (const Error& e) {
            return e.what();
        }
    }();
    return why;
}

// Whether its f32 arithmetic is the CPU's, so that results have the CPU's bits; lavapipe's is (tests/backend/vulkan_test.cpp).
inline bool vulkan_is_exact() {
    static const bool exact = [] {
        for (const DeviceInfo& d : list_devices())
            if (d.backend == "vulkan" && d.name.find(vulkan_device()) != std::string::npos)
                for (const std::string& what : d.enabled)
                    if (what.rfind("the CPU's arithmetic", 0) == 0) return true;
        return false;
    }();
    return exact;
}

}  // namespace tern::test
