// Products of several tokens: 16 rows x 256 elements are unpacked and transposed into the first-level cache, then
// multiplied with every token of the call, eight rows to a vector.
#pragma once

#include "kernels/avx2/matmul_rows.h"

namespace tern::kernels::avx2 {

inline constexpr size_t kVectorRows = 8;
inline constexpr size_t kPanelVectors = 2;
inline constexpr size_t kPanelRows = kPanelVectors * kVectorRows;
inline constexpr size_t kTokenBlock = 512;  // tokens whose sums are kept at once

struct alignas(32) Panel {
    uint8_t q[64][32];         // [k / 4][row * 4 + k % 4]
    int16_t scale[16][16];     // [group][row * 2], each scale twice
    int16_t scale_pair[8][16]; // [group / 2][row * 2 + group % 2]
    int16_t min_pair[8][16];   // likewise
    float d[8][8];             // [block][row]
    float dmin[8][8];
};

// One superblock of a panel times 1 or 2 tokens, added to c[token * kPanelRows + row].
using Tile = void (*)(const Panel*, const ActBlock*, float* c, int bias, size_t blocks);
struct TileSet {
    Tile tile[2];
};
// Named by what limits the sums of two products in 16 bits: how many of them can be added before they are widened.
extern const TileSet kTiles256Min8;     // Q4_K: eight, groups of 32
extern const TileSet kTiles256Min4;     // Q5_K, Q2_K: four
extern const TileSet kTiles256Bias4;    // Q3_K
extern const TileSet kTiles256Bias2;    // Q6_K
extern const TileSet kTiles256Bias1;    // IQ2_XXS: one
extern const TileSet kTiles256Signed;   // any int8
extern const TileSet kTiles32Bias8, kTiles32Bias4, kTiles32Min8, kTiles32Min4, kTiles32Signed;

void run_panels(const RowFormat& format, const TileSet& tiles, const FormatOps& ops, const MatmulArgs& args);
size_t panel_scratch_bytes(size_t tokens);

// One token, straight from the file's rows.
void run_single(const RowFormat& format, const FormatOps& ops, const MatmulArgs& args);

}  // namespace tern::kernels::avx2
