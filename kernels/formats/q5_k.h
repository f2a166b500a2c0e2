// Q5_K: 256 elements in sub-blocks of 32, 5 bits: d * scale * q - dmin * min.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ5_K {
    std::uint16_t d;          // f16
    std::uint16_t dmin;       // f16
    std::uint8_t scales[12];  // as in Q4_K
    std::uint8_t qh[32];      // element 32s + l: bit s of byte l is the fifth bit of q
    std::uint8_t qs[128];     // low four bits, as in Q4_K
};
static_assert(sizeof(BlockQ5_K) == 176);

}  // namespace tern::kernels
