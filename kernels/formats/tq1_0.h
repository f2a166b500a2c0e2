// TQ1_0: 256 ternary elements, five in a byte: d * (q - 1).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockTQ1_0 {
    std::uint8_t qs[48];  // digits of base 3, the first one foremost: byte b holds ceil(256 * x / 243), where
                          // x = sum q[n] * 3^(4 - n). Bytes 0 to 31 hold elements 32n + b, bytes 32 to 47
                          // elements 160 + 16n + (b - 32)
    std::uint8_t qh[4];  // likewise, four digits (the fifth is unused): byte b holds elements 240 + 4n + b
    std::uint16_t d;     // f16
};
static_assert(sizeof(BlockTQ1_0) == 54);

}  // namespace tern::kernels
