// Q3_K: 256 elements in sub-blocks of 16, 3 bits: d * (scale - 32) * (q - 4).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ3_K {
    std::uint8_t hmask[32];   // element 128h + 32s + l: bit 4h + s of byte l is the third bit of q
    std::uint8_t qs[64];      // low two bits; element 128h + 32s + l: bits 2s and 2s + 1 of byte 32h + l
    std::uint8_t scales[12];  // 6 bits; scale i: low four in the low (i < 8) or high half of byte i % 8, the
                              // two high ones at bit 2 * (i / 4) of byte 8 + i % 4
    std::uint16_t d;  // f16
};
static_assert(sizeof(BlockQ3_K) == 110);

}  // namespace tern::kernels
