// The codebooks of the IQ formats: constants that define those formats. Source: ggml/src/ggml-common.h of
// llama.cpp, commit 3f545beccee69d9975f466ec7e45fd9aacd8ba90.
#pragma once

#include <cstdint>

namespace tern::kernels {

struct IqGrids {
    // [index][element], so that one entry is one aligned word of 8 or 4 bytes.
    alignas(64) std::int8_t iq2_xxs[256][8];
    alignas(64) std::int8_t iq2_xs[512][8];
    alignas(64) std::int8_t iq2_s[1024][8];
    alignas(64) std::int8_t iq1[2048][8];
    alignas(64) std::int8_t iq3_xxs[256][4];
    alignas(64) std::int8_t iq3_s[512][4];
    // 7 stored sign bits to 8: the last one makes the number of ones even.
    std::uint8_t signs[128];
};
extern const IqGrids kIqGrids;

// The values of IQ4_NL and IQ4_XS.
extern const std::int8_t kIq4Values[16];

// Negates where the bit (lowest first) is set.
void signed_copy(std::int8_t* out, const std::int8_t* grid, int n, unsigned signs);

}  // namespace tern::kernels
