// Conversions between f32 and the 16-bit and 8-bit floats that blocks store. Integer code: the same bits on
// every machine, whatever its floating-point modes are. Not inline, so that no object compiled for a wider
// instruction set can provide the body for all.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tern::kernels {

// IEEE 754 binary16. To f32: exact; a signalling NaN becomes quiet, payload kept. From f32: round to nearest
// even, to subnormals and to infinity where the value asks for it; a NaN stays a (quiet) NaN. As VCVTPH2PS
// and VCVTPS2PH.
float f16_to_f32(std::uint16_t h) noexcept;
std::uint16_t f32_to_f16(float f) noexcept;
void f16_to_f32(const std::uint16_t* h, float* f, std::size_t n) noexcept;
void f32_to_f16(const float* f, std::uint16_t* h, std::size_t n) noexcept;

// bfloat16: the upper half of an f32. To f32: exact, bits kept. From f32: round to nearest even; a NaN stays
// a (quiet) NaN.
float bf16_to_f32(std::uint16_t h) noexcept;
std::uint16_t f32_to_bf16(float f) noexcept;

// Half of the E8M0 scale e of MXFP4, 2^(e - 128): the elements are stored doubled, which keeps them integers.
// e = 0 and 1 give subnormals, which are exact; e = 255 is NaN, as the OCP Microscaling Formats
// specification 1.0, 5.4.1, has it. For a table look-up; the index is e.
extern const float kHalfE8M0[256];

}  // namespace tern::kernels
