// Every format of 256 elements through FormatOps::unpack, until one has kernels of its own.
#pragma once

#include "kernels/avx2/matmul_single.h"

namespace tern::kernels {
namespace {

constexpr size_t block_of(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name: return block;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}
constexpr size_t bytes_of(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name: return bytes;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}

inline void unpack_general(const uint8_t* p, size_t, const FormatOps& ops, Row& out) {
    UnpackedBlock block;
    ops.unpack(p, block);
    memcpy(out.q, block.q, sizeof out.q);
    memcpy(out.scale, block.scale, sizeof out.scale);
    memcpy(out.min, block.min, sizeof out.min);
    out.d[0] = block.d;
    out.dmin[0] = block.dmin;
}

template <size_t kBytes>
constexpr RowFormat kGeneralRow = {256, kBytes, unpack_general};

template <const RowFormat& kRow, const FormatOps& kOps>
void run_general(const MatmulArgs& args) {
    static constexpr PanelKind kPlain = {.block = 256, .groups = 16, .narrow = 1, .is_signed = true};
    static constexpr PanelKind kMin = {.block = 256, .groups = 16, .narrow = 1, .has_min = true, .is_signed = true};
    kOps.has_min ? run_rows<kMin>(kRow, kOps, args) : run_rows<kPlain>(kRow, kOps, args);
}

template <DType kDType, const FormatOps& kOps>
void set_one_general(KernelTable& table) {
    if constexpr (block_of(kDType) == kSuper)
        table.matmul[static_cast<size_t>(kDType)] = {run_general<kGeneralRow<bytes_of(kDType)>, kOps>,
                                                     rows_scratch_bytes, kPanelRows};
}

}  // namespace

static inline void set_general(KernelTable& table) {
#define TERN_FORMAT(name, id, block, bytes) set_one_general<DType::name, kFormatOps_##name>(table);
#include <tern/formats.def>
#undef TERN_FORMAT
}

}  // namespace tern::kernels
