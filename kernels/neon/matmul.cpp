#include "kernels/neon/matmul.h"

#include "kernels/neon/matmul_panel.h"
#include "kernels/neon/matmul_rows.h"

namespace tern::kernels::neon {
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

size_t scratch_bytes(size_t, size_t tokens) { return tokens <= kRowTokens ? 0 : panel_scratch_bytes(tokens); }

// ---- rows for the panels -------------------------------------------------------------------------------------------
template <class Format>
TERN_INLINE void store_256(const uint8_t* p, Row& out) {
    int8x16_t q[16];
    int16x8_t scale[2], min[2];
    Format::unpack(p, q);
    Format::groups(p, scale, min);
    TERN_UNROLL
    for (int i = 0; i < 16; ++i) vst1q_s8(out.q + 16 * i, q[i]);
    TERN_UNROLL
    for (int i = 0; i < Format::kGroups / 8; ++i) {
        vst1q_s16(out.scale + 8 * i, scale[i]);
        if constexpr (Format::kMin) vst1q_s16(out.min + 8 * i, min[i]);
    }
    out.d[0] = Format::scale(p);
    if constexpr (Format::kMin) out.min_d[0] = Format::min(p);
}
template <class Format, bool kGeneral>
void unpack_256(const uint8_t* p, size_t, const FormatOps& ops, Row& out) {
    if constexpr (kGeneral) {
        UnpackedBlock block;
        ops.unpack(p, block);
        store_256<Format>(static_cast<const uint8_t*>(static_cast<const void*>(&block)), out);
    } else {
        store_256<Format>(p, out);
    }
}
template <class Format>
void unpack_32(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += Format::kBytes) {
        int8x16_t q[2];
        Format::unpack(p, q);
        vst1q_s8(out.q + 32 * j, q[0]);
        vst1q_s8(out.q + 32 * j + 16, q[1]);
        out.d[j] = Format::scale(p);
        if constexpr (Format::kMin) out.min_d[j] = Format::min(p);
    }
}

template <class Format>
constexpr const TileSet* tiles_256() {
    if constexpr (Format::kGroups == 8) return Format::kMin ? &kTiles256Groups8Min : &kTiles256Groups8;
    return Format::kMin ? &kTiles256Groups16Min : &kTiles256Groups16;
}

// ---- the kernels ---------------------------------------------------------------------------------------------------
template <class Format, bool kGeneral>
TERN_INLINE void run_256(const MatmulArgs& args, const FormatOps& ops, size_t block_bytes) {
    static_assert(kRowTokens == 2);
    if (args.tokens == 1) return rows_256<Format, 1, kGeneral>(args, ops, block_bytes);
    if (args.tokens == 2) return rows_256<Format, 2, kGeneral>(args, ops, block_bytes);
    const PanelFormat panel = {kSuper,       block_bytes,         Format::kGroups,
                               Format::kMin, tiles_256<Format>(), unpack_256<Format, kGeneral>};
    run_panels(panel, ops, args);
}
template <class Format, const FormatOps& kOps>
void run_own_256(const MatmulArgs& args) {
    run_256<Format, false>(args, kOps, Format::kBytes);
}
template <bool kHasMin>
void run_general(const MatmulArgs& args, const FormatOps& ops, size_t block_bytes) {
    run_256<FormatGeneral<kHasMin>, true>(args, ops, block_bytes);
}
template <DType kDType, const FormatOps& kOps>
void run_any_256(const MatmulArgs& args) {
    if (kOps.has_min)
        run_general<true>(args, kOps, bytes_of(kDType));
    else
        run_general<false>(args, kOps, bytes_of(kDType));
}
template <class Format, const FormatOps& kOps>
void run_32(const MatmulArgs& args) {
    if (args.tokens == 1) return rows_32<Format, 1>(args);
    if (args.tokens == 2) return rows_32<Format, 2>(args);
    static constexpr PanelFormat kPanel = {32,           Format::kBytes, 0, Format::kMin,
                                           Format::kMin ? &kTiles32Min : &kTiles32, unpack_32<Format>};
    run_panels(kPanel, kOps, args);
}

template <DType kDType, const FormatOps& kOps>
void set_general(KernelTable& table) {
    if constexpr (block_of(kDType) == kSuper)
        table.matmul[static_cast<size_t>(kDType)] = {run_any_256<kDType, kOps>, scratch_bytes, kPanelRows};
}

}  // namespace

void fill_quantised(KernelTable& table) {
#define TERN_FORMAT(name, id, block, bytes) set_general<DType::name, kFormatOps_##name>(table);
#include <tern/formats.def>
#undef TERN_FORMAT
#define TERN_OWN_256(name)                           \
    table.matmul[static_cast<size_t>(DType::name)] = \
        {run_own_256<Format##name, kFormatOps_##name>, scratch_bytes, kPanelRows};
#define TERN_OWN_32(name)                            \
    table.matmul[static_cast<size_t>(DType::name)] = \
        {run_32<Format##name, kFormatOps_##name>, scratch_bytes, kPanelRows};
    TERN_OWN_32(Q4_0)
    TERN_OWN_32(Q4_1)
    TERN_OWN_32(Q5_0)
    TERN_OWN_32(Q5_1)
    TERN_OWN_32(Q8_0)
    TERN_OWN_32(IQ4_NL)
    TERN_OWN_32(MXFP4)
    TERN_OWN_256(Q2_K)
    TERN_OWN_256(Q3_K)
    TERN_OWN_256(Q4_K)
    TERN_OWN_256(Q5_K)
    TERN_OWN_256(Q6_K)
    TERN_OWN_256(IQ4_XS)
#undef TERN_OWN_256
#undef TERN_OWN_32
}

}  // namespace tern::kernels::neon
