// What the files of this folder share. Only for them: they are all compiled with the same flags.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/formats/format.h"
#include "kernels/formats/half.h"

namespace tern::kernels {

constexpr std::size_t block_elements(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name:                       \
        return block;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}

constexpr std::size_t block_bytes(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name:                       \
        return bytes;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}

// A copy, because a file promises no alignment.
template <class Block>
inline Block load_block(const void* p) {
    Block block;
    std::memcpy(&block, p, sizeof block);
    return block;
}

inline void fill16(std::int16_t* out, std::int16_t value, std::size_t groups) {
    for (std::size_t g = 0; g < groups; ++g) out[g] = value;
}

// For formats without sub-blocks and minimums.
inline void plain_groups(UnpackedBlock& out, std::size_t groups) {
    fill16(out.scale, 1, groups);
    fill16(out.min, 0, groups);
    out.dmin = 0.0f;
}

// FormatOps::decode through FormatOps::unpack.
void decode_unpacked(DType dtype, void (*unpack)(const void*, UnpackedBlock&), const void* blocks, float* out,
                     std::size_t n);

}  // namespace tern::kernels
