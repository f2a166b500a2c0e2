// IQ2_S: 256 elements in groups of 8 from a codebook of 1024, sub-blocks of 16: d / 8 * (2 * scale + 1) *
// sign * grid.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ2_S {
    std::uint16_t d;         // f16
    std::uint8_t qs[32];     // per group: low 8 bits of the codebook index
    std::uint8_t signs[32];  // per group
    std::uint8_t qh[8];      // the two high bits of the index of group 4i + j at bit 2j of byte i
    std::uint8_t scales[8];  // of sub-blocks 2i and 2i + 1 in the halves of byte i
};
static_assert(sizeof(BlockIQ2_S) == 82);

}  // namespace tern::kernels
