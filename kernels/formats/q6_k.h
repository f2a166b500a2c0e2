// Q6_K: 256 elements in sub-blocks of 16, 6 bits: d * scale * (q - 32).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ6_K {
    std::uint8_t
        ql[128];  // low four bits: elements 128h + l and 128h + 64 + l in the halves of byte 64h + l, l < 64
    std::uint8_t qh[64];  // high two bits of element 128h + 32s + l at bit 2s of byte 32h + l
    std::int8_t scales[16];
    std::uint16_t d;  // f16
};
static_assert(sizeof(BlockQ6_K) == 210);

}  // namespace tern::kernels
