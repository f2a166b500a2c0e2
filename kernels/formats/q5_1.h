// Q5_1: 32 elements, 5 bits and a minimum: d * q + m.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ5_1 {
    std::uint16_t d;     // f16
    std::uint16_t m;     // f16
    std::uint8_t qh[4];  // bit j, little-endian: the fifth bit of element j
    std::uint8_t
        qs[16];  // low four bits: element j in the low half of byte j, element j + 16 in the high half
};
static_assert(sizeof(BlockQ5_1) == 24);

}  // namespace tern::kernels
