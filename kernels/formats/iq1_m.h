// IQ1_M: 256 elements in groups of 8 from a ternary codebook of 2048, sub-blocks of 16:
// d * (2 * scale + 1) * (grid + shift), shift = 1/8 or -1/8.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockIQ1_M {
    std::uint8_t qs[32];  // per group: low 8 bits of the codebook index
    std::uint8_t qh[16];  // per group four bits, the even group low: the 3 high bits of the index, and the
                          // sign of the shift (1: negative)
    std::uint8_t scales[8];  // four little-endian words: four scales of 3 bits each, and on top four bits of
                             // d, which is an f16 put together from the words, the first one lowest
};
static_assert(sizeof(BlockIQ1_M) == 56);

}  // namespace tern::kernels
