#include "kernels/avx512/matmul_panel.h"

namespace tern::kernels::avx512 {
namespace {

template <int kVectors, int kTokens, int kGroups, bool kMin, bool kBiased, Scaling kScaling>
void run_256(const Panel* p, const ActBlock* a, float* c, int bias, size_t) {
    tile_256<kVectors, kTokens, kGroups, kMin, kBiased, kScaling>(p, a, c, bias);
}
template <int kVectors, int kTokens, bool kMin>
void run_32(const Panel* p, const ActBlock* a, float* c, int bias, size_t blocks) {
    tile_32<kVectors, kTokens, kMin>(p, a, c, bias, blocks);
}

template <int kVectors, int kGroups, bool kMin, bool kBiased, Scaling kScaling>
constexpr void fill_256(Tile (&tile)[3]) {
    tile[0] = run_256<kVectors, 1, kGroups, kMin, kBiased, kScaling>;
    tile[1] = run_256<kVectors, 2, kGroups, kMin, kBiased, kScaling>;
    tile[2] = run_256<kVectors, 4, kGroups, kMin, kBiased, kScaling>;
}
template <int kGroups, bool kMin, bool kBiased, Scaling kScaling = Scaling::integer>
constexpr TileSet set_256() {
    TileSet set{};
    fill_256<1, kGroups, kMin, kBiased, kScaling>(set.tile[0]);
    fill_256<2, kGroups, kMin, kBiased, kScaling>(set.tile[1]);
    fill_256<4, kGroups, kMin, kBiased, kScaling>(set.tile[2]);
    return set;
}
template <int kVectors, bool kMin>
constexpr void fill_32(Tile (&tile)[3]) {
    tile[0] = run_32<kVectors, 1, kMin>;
    tile[1] = run_32<kVectors, 2, kMin>;
    tile[2] = run_32<kVectors, 4, kMin>;
}
template <bool kMin>
constexpr TileSet set_32() {
    TileSet set{};
    fill_32<1, kMin>(set.tile[0]);
    fill_32<2, kMin>(set.tile[1]);
    fill_32<4, kMin>(set.tile[2]);
    return set;
}

}  // namespace

constexpr TileSet kTiles256Halves = set_256<8, true, false, Scaling::halves>();
constexpr TileSet kTiles256Min8 = set_256<8, true, false>();
constexpr TileSet kTiles256Applied16Min = set_256<16, true, false, Scaling::applied>();
constexpr TileSet kTiles256Bias8 = set_256<8, false, true>();
constexpr TileSet kTiles256Bias16 = set_256<16, false, true>();
constexpr TileSet kTiles256AppliedBias = set_256<16, false, true, Scaling::applied>();
constexpr TileSet kTiles32 = set_32<false>();
constexpr TileSet kTiles32Min = set_32<true>();

}  // namespace tern::kernels::avx512
