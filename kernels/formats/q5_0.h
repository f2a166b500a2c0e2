// Q5_0: 32 elements, 5 bits: d * (q - 16).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ5_0 {
    std::uint16_t d;     // f16
    std::uint8_t qh[4];  // bit j, little-endian: the fifth bit of element j
    std::uint8_t
        qs[16];  // low four bits: element j in the low half of byte j, element j + 16 in the high half
};
static_assert(sizeof(BlockQ5_0) == 22);

}  // namespace tern::kernels
