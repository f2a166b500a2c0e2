// Formats of 256 elements with kernels of their own.
#pragma once

#include "kernels/avx2/matmul_own.h"
#include "kernels/avx2/matmul_stream_256.h"

namespace tern::kernels {

static inline void set_own_256(KernelTable& table) {
    static constexpr PanelKind kQ2 = {.block = 256, .groups = 16, .narrow = 4, .has_min = true};
    static constexpr PanelKind kQ3 = {.block = 256, .groups = 16, .narrow = 4, .bias = 4, .bias_fits = true};
    static constexpr PanelKind kQ4 = {.block = 256, .groups = 8, .narrow = 8, .has_min = true};
    static constexpr PanelKind kQ5 = {.block = 256, .groups = 8, .narrow = 4, .has_min = true};
    static constexpr PanelKind kQ6 = {.block = 256, .groups = 16, .narrow = 2, .bias = 32};
    static constexpr PanelKind kIQ4 = {.block = 256, .groups = 8, .narrow = 1, .is_signed = true};
#define TERN_OWN(name, kind) set_own<DType::name, Stream##name, kind, kRow##name, kFormatOps_##name>(table);
    TERN_OWN(Q2_K, kQ2)
    TERN_OWN(Q3_K, kQ3)
    TERN_OWN(Q4_K, kQ4)
    TERN_OWN(Q5_K, kQ5)
    TERN_OWN(Q6_K, kQ6)
    TERN_OWN(IQ4_XS, kIQ4)
#undef TERN_OWN
}

}  // namespace tern::kernels
