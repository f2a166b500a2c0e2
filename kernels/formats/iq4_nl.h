// IQ4_NL: 32 elements, 4 bits that index a table of values: d * value[q].
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ4_NL {
    std::uint16_t d;      // f16
    std::uint8_t qs[16];  // element j in the low half of byte j, element j + 16 in the high half
};
static_assert(sizeof(BlockIQ4_NL) == 18);

}  // namespace tern::kernels
