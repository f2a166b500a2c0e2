// Q4_1: 32 elements, 4 bits and a minimum: d * q + m.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ4_1 {
    std::uint16_t d;      // f16
    std::uint16_t m;      // f16
    std::uint8_t qs[16];  // element j in the low half of byte j, element j + 16 in the high half
};
static_assert(sizeof(BlockQ4_1) == 20);

}  // namespace tern::kernels
