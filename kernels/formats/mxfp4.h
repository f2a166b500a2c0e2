// MXFP4: 32 elements of E2M1 with one E8M0 scale: OCP Microscaling Formats specification 1.0,
// https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf
#pragma once

#include <cstdint>

namespace tern::kernels {

struct BlockMXFP4 {
    std::uint8_t e;       // the scale is 2^(e - 127); 255 is NaN
    std::uint8_t qs[16];  // element j in the low half of byte j, element j + 16 in the high half
};
static_assert(sizeof(BlockMXFP4) == 17);

}  // namespace tern::kernels
