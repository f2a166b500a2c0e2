#include "kernels/avx512/matmul_panel.h"

namespace tern::kernels::avx512 {
namespace {

template <int kVectors, int kTokens, int kGroups, bool kMin, bool kBiased>
void run_256(const Panel* p, const ActBlock* a, float* c, int bias, size_t) {
    tile_256<kVectors, kTokens, kGroups, kMin, kBiased>(p, a, c, bias);
}
template <int kVectors, int kTokens, bool kMin>
void run_32(const Panel* p, const ActBlock* a, float* c, int bias, size_t blocks) {
    tile_32<kVectors, kTokens, kMin>(p, a, c, bias, blocks);
}

template <int kGroups, bool kMin, bool kBiased>
constexpr TileSet set_256() {
    constexpr int v = kPanelVectors;
    return {{{run_256<1, 1, kGroups, kMin, kBiased>, run_256<1, 2, kGroups, kMin, kBiased>,
              run_256<1, 4, kGroups, kMin, kBiased>},
             {run_256<v, 1, kGroups, kMin, kBiased>, run_256<v, 2, kGroups, kMin, kBiased>,
              run_256<v, 4, kGroups, kMin, kBiased>}}};
}
template <bool kMin>
constexpr TileSet set_32() {
    constexpr int v = kPanelVectors;
    return {{{run_32<1, 1, kMin>, run_32<1, 2, kMin>, run_32<1, 4, kMin>},
             {run_32<v, 1, kMin>, run_32<v, 2, kMin>, run_32<v, 4, kMin>}}};
}

}  // namespace

constexpr TileSet kTiles256Min8 = set_256<8, true, false>();
constexpr TileSet kTiles256Min16 = set_256<16, true, false>();
constexpr TileSet kTiles256Bias8 = set_256<8, false, true>();
constexpr TileSet kTiles256Bias16 = set_256<16, false, true>();
constexpr TileSet kTiles32 = set_32<false>();
constexpr TileSet kTiles32Min = set_32<true>();

}  // namespace tern::kernels::avx512
