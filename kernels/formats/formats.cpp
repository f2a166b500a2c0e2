#include "kernels/formats/common.h"

namespace tern::kernels {

const FormatOps& format_ops(DType dtype) noexcept {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name:                       \
        return kFormatOps_##name;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return kFormatOps_F32;
}

void decode_unpacked(DType dtype, void (*unpack)(const void*, UnpackedBlock&), const void* blocks, float* out,
                     std::size_t n) {
    const std::size_t block = block_elements(dtype);
    const std::size_t bytes = block_bytes(dtype);
    const auto* p = static_cast<const unsigned char*>(blocks);
    UnpackedBlock u;
    for (std::size_t i = 0; i + block <= n; i += block, p += bytes) {
        unpack(p, u);
        for (std::size_t g = 0; g < block / 16; ++g) {
            const float scale = u.d * static_cast<float>(u.scale[g]);
            const float min = u.dmin * static_cast<float>(u.min[g]);
            // scale * q needs at most 24 bits in every format with minimums, so the product is exact and this
            // is the fma of the definition: rounded once.
            for (std::size_t k = 0; k < 16; ++k)
                out[i + g * 16 + k] = scale * static_cast<float>(u.q[g * 16 + k]) - min;
        }
    }
}

}  // namespace tern::kernels
