#include "kernels/avx2/matmul.h"

#include "kernels/avx2/matmul_panel.h"

namespace tern::kernels::avx2 {
namespace {

size_t scratch_bytes(size_t, size_t tokens) { return panel_scratch_bytes(tokens); }

template <const RowFormat& kRow, const TileSet& kTiles, const FormatOps& kOps>
void run_own(const MatmulArgs& args) {
    if (args.tokens == 1)
        run_single(kRow, kOps, args);
    else
        run_panels(kRow, kTiles, kOps, args);
}
template <DType kDType, const RowFormat& kRow, const TileSet& kTiles, const FormatOps& kOps>
void set_own(KernelTable& table) {
    table.matmul[static_cast<size_t>(kDType)] = {run_own<kRow, kTiles, kOps>, scratch_bytes, kPanelRows};
}

}  // namespace

void fill_quantised(KernelTable& table) {
#define TERN_OWN(name, tiles) set_own<DType::name, kRow##name, tiles, kFormatOps_##name>(table);
    TERN_OWN(Q4_0, kTiles32Bias8)
    TERN_OWN(Q4_1, kTiles32Min8)
    TERN_OWN(Q5_0, kTiles32Bias4)
    TERN_OWN(Q5_1, kTiles32Min4)
    TERN_OWN(Q8_0, kTiles32Signed)
    TERN_OWN(IQ4_NL, kTiles32Signed)
    TERN_OWN(MXFP4, kTiles32Bias4)
    TERN_OWN(Q2_K, kTiles256Min4)
    TERN_OWN(Q3_K, kTiles256Bias4)
    TERN_OWN(Q4_K, kTiles256Min8)
    TERN_OWN(Q5_K, kTiles256Min4)
    TERN_OWN(Q6_K, kTiles256Bias2)
    TERN_OWN(IQ4_XS, kTiles256Signed)
    TERN_OWN(IQ1_S, kTiles256Bias4)
    TERN_OWN(IQ1_M, kTiles256Bias4)
    TERN_OWN(IQ2_XXS, kTiles256Bias1)
    TERN_OWN(IQ2_XS, kTiles256Bias1)
    TERN_OWN(IQ2_S, kTiles256Bias1)
    TERN_OWN(IQ3_XXS, kTiles256Bias1)
    TERN_OWN(IQ3_S, kTiles256Bias4)
    TERN_OWN(TQ1_0, kTiles256Bias4)
    TERN_OWN(TQ2_0, kTiles256Bias4)
    TERN_OWN(Q8_K, kTiles256Signed)
#undef TERN_OWN
}

}  // namespace tern::kernels::avx2
