// IQ4_XS: 256 elements in sub-blocks of 32, 4 bits that index a table of values: d * (scale - 32) * value[q].
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ4_XS {
    std::uint16_t d;           // f16
    std::uint16_t scales_h;    // the two high bits of scale i at bit 2i
    std::uint8_t scales_l[4];  // the four low bits of scales 2i and 2i + 1 in the halves of byte i
    std::uint8_t qs[128];  // element 32s + j in the low half of byte 16s + j, 32s + 16 + j in the high half
};
static_assert(sizeof(BlockIQ4_XS) == 136);

}  // namespace tern::kernels
