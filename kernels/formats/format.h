// What every tensor format must define. A format is one file, kernels/formats/<name>.cpp, which defines
// `const FormatOps kFormatOps_<NAME>`, and one row in include/tern/formats.def.
#pragma once

#include <cstddef>
#include <cstdint>

#include <tern/dtype.h>

namespace tern::kernels {

// One quantised block in exact integer terms (the definition of all arithmetic on it, docs/numerics.md):
//   value[k] = d * scale[k / 16] * q[k] - dmin * min[k / 16]        0 <= k < block
// d and dmin are the block's float scales exactly as stored (times a power of two where the format says so; both
// products are exact in f32 before the one rounding of the subtraction). Formats without sub-blocks have scale 1;
// formats without minimums have dmin 0 and min 0. Formats of 32 elements fill q[0..32) and two groups.
struct UnpackedBlock {
    alignas(64) std::int8_t q[256];
    std::int16_t scale[16];
    std::int16_t min[16];
    float d;
    float dmin;
};

struct FormatOps {
    DType dtype;
    bool quantised;    // false: F32, F16, BF16, which have decode and encode only
    bool has_min;      // dmin and min are used
    // Exact integers of one block; null for float formats.
    void (*unpack)(const void* block, UnpackedBlock& out);
    // n elements (a multiple of the block) to f32: fma(d*scale, q, -(dmin*min)), which is exact or rounded once.
    void (*decode)(const void* blocks, float* out, std::size_t n);
    // n finite elements to blocks, round-to-nearest-even on the stored scales; null where Tern cannot write the
    // format yet. Not-finite input encodes as zero. `importance` (n weights >= 0 or null) weighs errors.
    void (*encode)(const float* x, const float* importance, void* blocks, std::size_t n);
};

#define TERN_FORMAT(name, id, block, bytes) extern const FormatOps kFormatOps_##name;
#include <tern/formats.def>
#undef TERN_FORMAT

// Never fails for an enumerator of DType.
const FormatOps& format_ops(DType dtype) noexcept;

}  // namespace tern::kernels
