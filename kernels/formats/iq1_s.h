// IQ1_S: 256 elements in groups of 8 from a ternary codebook of 2048, sub-blocks of 32:
// d * (2 * scale + 1) * (grid + shift), shift = 1/8 or -1/8.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ1_S {
    std::uint16_t d;      // f16
    std::uint8_t qs[32];  // per group: low 8 bits of the codebook index
    std::uint16_t qh[8];  // per sub-block: four times the 3 high bits of the index, 3 bits of scale, and the
                          // sign of the shift (1: negative)
};
static_assert(sizeof(BlockIQ1_S) == 50);

}  // namespace tern::kernels
