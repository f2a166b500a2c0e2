// Graphics processors through Vulkan. Results are the CPU's bits (docs/numerics.md) on a device whose
// arithmetic is IEEE 754's (arithmetic.h).
#pragma once

#include <tern/error.h>
#include <tern/runtime.h>

#include "backend/interface.h"

namespace tern::backend::vulkan {

// On a device that is open; not in a build without the backend. `isa`: "spirv" or empty takes the best way of
// multiplying that is right on the device; the name of one (self_test.h) that way. Error(invalid_argument)
// for another name, Error(unsupported) where the device lacks what it needs. `half`:
// RuntimeOptions::half_products.
class Device;
std::unique_ptr<Backend> make_vulkan_on(std::shared_ptr<Device> device, const std::string& isa = {},
                                        bool half = false);
// Error(not_found) where there is no device, Error(unsupported) where this build has no such backend.
#ifdef TERN_HAVE_VULKAN
std::unique_ptr<Backend> make_vulkan(const BackendOptions& options);
std::vector<tern::DeviceInfo> vulkan_devices();
#else
inline std::vector<tern::DeviceInfo> vulkan_devices() {
    return {
        {.backend = "vulkan", .unusable = "this build has no backend vulkan (libvulkan-dev, glslang-dev)"}};
}
inline std::unique_ptr<Backend> make_vulkan(const BackendOptions&) {
    throw Error(ErrorCode::unsupported,
                "this build has no backend 'vulkan': it was configured without libvulkan-dev and "
                "glslang-dev, or with "
                "TERN_VULKAN off");
}
#endif

}  // namespace tern::backend::vulkan
