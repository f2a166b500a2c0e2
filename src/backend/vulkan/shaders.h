// The compiled shaders; cmake/shader_compiler.cpp writes their table.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tern::backend::vulkan {

struct Shader {
    std::string_view name;  // "rms_norm", "matmul/Q4_K"
    std::span<const std::uint32_t> code;
};
std::span<const Shader> all_shaders() noexcept;
// How a block of a format lies on the device: its parts in file order, in bytes (weights.h). From the line
// "// parts:" of shaders/formats/NAME.glsl.
struct FormatParts {
    std::string_view name;  // "Q4_0"
    std::span<const std::uint32_t> parts;
};
std::span<const FormatParts> all_format_parts() noexcept;
// Null: there is none of this name.
const Shader* find_shader(std::string_view name) noexcept;

}  // namespace tern::backend::vulkan
