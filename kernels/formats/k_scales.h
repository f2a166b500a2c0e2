// The 12 bytes of 6-bit scales and minimums of Q4_K and Q5_K.
#pragma once

#include <cstdint>

namespace tern::kernels {

// One scale and minimum per sub-block of 32, each given twice: UnpackedBlock counts by 16.
void unpack_k_scales(const std::uint8_t (&bytes)[12], std::int16_t (&scale)[16], std::int16_t (&min)[16]);
void pack_k_scales(const std::uint8_t (&scale)[8], const std::uint8_t (&min)[8], std::uint8_t (&bytes)[12]);

}  // namespace tern::kernels
