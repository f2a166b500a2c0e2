// TQ2_0: 256 ternary elements, 2 bits: d * (q - 1).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockTQ2_0 {
    std::uint8_t qs[64];  // element 128h + 32s + l: bits 2s and 2s + 1 of byte 32h + l
    std::uint16_t d;      // f16
};
static_assert(sizeof(BlockTQ2_0) == 66);

}  // namespace tern::kernels
