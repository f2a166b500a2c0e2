// What a device can do at most, measured.
#pragma once

#include <tern/runtime.h>

#include "backend/vulkan/device.h"

namespace tern::backend::vulkan {

// Takes some tenths of a second.
DeviceRates measure_rates(Device& device);
// For tests: what a workgroup of shaders/ops/rate_matrix.comp writes, on a device that has cooperative
// matrices.
std::vector<float> run_rate_matrix(Device& device, std::uint32_t n);

}  // namespace tern::backend::vulkan
