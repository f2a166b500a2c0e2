// Whether a device computes f32 as the CPU does: IEEE 754 with a fused fma. GLSL promises less (Vulkan,
// "Precision and Operation of SPIR-V Instructions": division within 2.5 units, fma fused or not), and drivers
// contract what they must not; so it is tried.
#pragma once

#include <string>

namespace tern::backend::vulkan {

class Device;

struct Arithmetic {
    // shaders/exact.glsl gives the bits of docs/numerics.md, but for numbers below 2^-126 …
    bool exact = false;
    bool subnormals = false;  // … and for these
    // fma splits, and shaders compute it by doubles (FMA_BY_DOUBLES of shaders/exact.glsl). Done for software
    // devices, whose doubles are fast; on graphics processors these are not, and such a one has no exact
    // arithmetic.
    bool doubles = false;
    // Those of the device are IEEE 754's as they are (constants of shaders/exact.glsl).
    bool divides = false, roots = false;
    std::string why;  // not exact
};

// Takes some milliseconds and the time to compile one or two shaders.
Arithmetic try_arithmetic(Device& device);

}  // namespace tern::backend::vulkan
