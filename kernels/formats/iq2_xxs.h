// IQ2_XXS: 256 elements in groups of 8 from a codebook of 256, sub-blocks of 32: d / 8 * (2 * scale + 1) *
// sign * grid.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ2_XXS {
    std::uint16_t d;  // f16
    std::uint16_t
        qs[32];  // per sub-block 8 bytes: four codebook indices, then a little-endian word with four signs
                 // of 7 bits (their eighth makes the number of ones even) and the scale on top
};
static_assert(sizeof(BlockIQ2_XXS) == 66);

}  // namespace tern::kernels
