// IQ3_S: 256 elements in groups of 4 from a codebook of 512, sub-blocks of 32: d * (2 * scale + 1) * sign *
// grid.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ3_S {
    std::uint16_t d;         // f16
    std::uint8_t qs[64];     // per group: low 8 bits of the codebook index
    std::uint8_t qh[8];      // the high bit of the index of group 8i + j at bit j of byte i
    std::uint8_t signs[32];  // bit j of byte i: element 8i + j is negative
    std::uint8_t scales[4];  // of sub-blocks 2i and 2i + 1 in the halves of byte i
};
static_assert(sizeof(BlockIQ3_S) == 110);

}  // namespace tern::kernels
