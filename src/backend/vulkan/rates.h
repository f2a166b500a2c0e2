// What a device can do at most, measured.
#pragma once

#include <tern/runtime.h>

#include "backend/vulkan/device.h"

namespace tern::backend::vulkan {

// Takes some tenths of a second.
DeviceRates measure_rates(Device& device);

}  // namespace tern::backend::vulkan
