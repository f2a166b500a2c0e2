// IQ3_XXS: 256 elements in groups of 4 from a codebook of 256, sub-blocks of 32: d / 4 * (2 * scale + 1) *
// sign * grid.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ3_XXS {
    std::uint16_t d;                // f16
    std::uint8_t qs[64];            // per group: codebook index
    std::uint8_t scales_signs[32];  // per sub-block a little-endian word: four signs of 7 bits for 8 elements
                                    // each (their eighth makes the number of ones even) and the scale on top
};
static_assert(sizeof(BlockIQ3_XXS) == 98);

}  // namespace tern::kernels
