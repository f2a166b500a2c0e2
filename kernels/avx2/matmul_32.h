// Formats of 32 elements.
#pragma once

#include "kernels/avx2/matmul_own.h"
#include "kernels/avx2/matmul_stream_32.h"

namespace tern::kernels {

static inline void set_own_32(KernelTable& table) {
    static constexpr PanelKind kQ40 = {.block = 32, .groups = 8, .narrow = 8, .bias = 8};
    static constexpr PanelKind kQ41 = {.block = 32, .groups = 8, .narrow = 8, .has_min = true};
    static constexpr PanelKind kQ50 = {.block = 32, .groups = 8, .narrow = 4, .bias = 16};
    static constexpr PanelKind kQ51 = {.block = 32, .groups = 8, .narrow = 4, .has_min = true};
    static constexpr PanelKind kMXFP4 = {.block = 32, .groups = 8, .narrow = 4, .bias = 12};
    static constexpr PanelKind kSigned = {.block = 32, .groups = 8, .narrow = 1, .is_signed = true};
#define TERN_OWN(name, kind) set_own<DType::name, Stream##name, kind, kRow##name, kFormatOps_##name>(table);
    TERN_OWN(Q4_0, kQ40)
    TERN_OWN(Q4_1, kQ41)
    TERN_OWN(Q5_0, kQ50)
    TERN_OWN(Q5_1, kQ51)
    TERN_OWN(Q8_0, kSigned)
    TERN_OWN(IQ4_NL, kSigned)
    TERN_OWN(MXFP4, kMXFP4)
#undef TERN_OWN
}

}  // namespace tern::kernels
