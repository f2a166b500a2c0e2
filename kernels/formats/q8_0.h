// Q8_0: 32 elements, 8 bits: d * q.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ8_0 {
    std::uint16_t d;  // f16
    std::int8_t qs[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

}  // namespace tern::kernels
