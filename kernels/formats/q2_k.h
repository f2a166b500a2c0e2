// Q2_K: 256 elements in sub-blocks of 16, 2 bits: d * scale * q - dmin * min.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ2_K {
    std::uint8_t scales[16];  // per sub-block: scale in the low half, min in the high half
    std::uint8_t qs[64];      // element 128h + 32s + l: bits 2s and 2s + 1 of byte 32h + l
    std::uint16_t d;          // f16
    std::uint16_t dmin;       // f16
};
static_assert(sizeof(BlockQ2_K) == 84);

}  // namespace tern::kernels
