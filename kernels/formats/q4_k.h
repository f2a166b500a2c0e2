// Q4_K: 256 elements in sub-blocks of 32, 4 bits: d * scale * q - dmin * min.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ4_K {
    std::uint16_t d;          // f16
    std::uint16_t dmin;       // f16
    std::uint8_t scales[12];  // 6-bit scales and minimums. Sub-block i < 4: scale in the low six bits of byte
                              // i, min in those of byte i + 4. i >= 4: the low four bits of scale and min in
                              // the halves of byte i + 4, their two high bits on top of bytes i - 4 and i
    std::uint8_t qs[128];  // element 64p + l in the low half of byte 32p + l, 64p + 32 + l in the high half
};
static_assert(sizeof(BlockQ4_K) == 144);

}  // namespace tern::kernels
