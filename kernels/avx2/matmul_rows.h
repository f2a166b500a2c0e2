// One superblock of one row as small integers in natural order: what both the panels and the single-token products
// start from.
#pragma once

#include "kernels/avx2/matmul_common.h"

namespace tern::kernels::avx2 {

// Products are made by vpmaddubsw, which saturates its sums of two at 32767. They are exact where q is unsigned and at
// most 127, or signed with the sign moved to the activations: |-128| * 127 * 2 = 32512.
struct alignas(32) Row {
    uint8_t q[256];     // q + bias, or int8 where the format is `is_signed`
    int16_t scale[16];  // per 16 elements; formats of 32 elements leave it alone
    int16_t min[16];    // formats of 256 with minimums only
    float d[8];         // per block
    float dmin[8];      // per block; value = d * scale * q - dmin * min (formats of 32: min = 1)
};

struct RowFormat {
    size_t block, block_bytes;
    int bias;
    bool is_signed, has_min;
    // `blocks` blocks of a format of 32 elements, one of a format of 256.
    void (*unpack)(const uint8_t* p, size_t blocks, const FormatOps& ops, Row& out);
};

extern const RowFormat kRowQ4_0, kRowQ4_1, kRowQ5_0, kRowQ5_1, kRowQ8_0, kRowIQ4_NL, kRowMXFP4, kRowQ2_K, kRowQ3_K,
    kRowQ4_K, kRowQ5_K, kRowQ6_K, kRowIQ4_XS;
// matmul_iq.cpp
extern const RowFormat kRowIQ1_S, kRowIQ1_M, kRowIQ2_XXS, kRowIQ2_XS, kRowIQ2_S, kRowIQ3_XXS, kRowIQ3_S, kRowTQ1_0,
    kRowTQ2_0, kRowQ8_K;

}  // namespace tern::kernels::avx2
