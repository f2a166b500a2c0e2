// Q4_0: 32 elements, 4 bits: d * (q - 8).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ4_0 {
    std::uint16_t d;      // f16
    std::uint8_t qs[16];  // element j in the low half of byte j, element j + 16 in the high half
};
static_assert(sizeof(BlockQ4_0) == 18);

}  // namespace tern::kernels
