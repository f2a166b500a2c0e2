#include "kernels/formats/k_scales.h"

namespace tern::kernels {

void unpack_k_scales(const std::uint8_t (&bytes)[12], std::int16_t (&scale)[16], std::int16_t (&min)[16]) {
    for (int i = 0; i < 8; ++i) {
        int s = bytes[i % 4] & 63;
        int m = bytes[i % 4 + 4] & 63;
        if (i >= 4) {
            s = (bytes[i + 4] & 15) | (bytes[i - 4] >> 6) << 4;
            m = (bytes[i + 4] >> 4) | (bytes[i] >> 6) << 4;
        }
        scale[2 * i] = scale[2 * i + 1] = static_cast<std::int16_t>(s);
        min[2 * i] = min[2 * i + 1] = static_cast<std::int16_t>(m);
    }
}

void pack_k_scales(const std::uint8_t (&scale)[8], const std::uint8_t (&min)[8], std::uint8_t (&bytes)[12]) {
    for (int i = 0; i < 4; ++i) {
        bytes[i] = static_cast<std::uint8_t>(scale[i] | (scale[i + 4] >> 4) << 6);
        bytes[i + 4] = static_cast<std::uint8_t>(min[i] | (min[i + 4] >> 4) << 6);
        bytes[i + 8] = static_cast<std::uint8_t>((scale[i + 4] & 15) | (min[i + 4] & 15) << 4);
    }
}

}  // namespace tern::kernels
