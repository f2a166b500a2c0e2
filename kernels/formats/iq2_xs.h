// IQ2_XS: 256 elements in groups of 8 from a codebook of 512, sub-blocks of 16: d / 8 * (2 * scale + 1) *
// sign * grid.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ2_XS {
    std::uint16_t d;       // f16
    std::uint16_t qs[32];  // per group: codebook index in the low 9 bits, 7 sign bits (the eighth makes the
                           // number of ones even)
    std::uint8_t scales[8];  // of sub-blocks 2i and 2i + 1 in the halves of byte i
};
static_assert(sizeof(BlockIQ2_XS) == 74);

}  // namespace tern::kernels
