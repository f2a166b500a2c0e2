// Q8_K: 256 elements, 8 bits: d * q.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockQ8_K {
    float d;
    std::int8_t qs[256];
    std::int16_t sums[16];  // of 16 q each; redundant
};
static_assert(sizeof(BlockQ8_K) == 292);

}  // namespace tern::kernels
