// Products of many tokens: strips of four rows x 256 elements are unpacked and transposed into the first-level cache,
// one row to a lane, then multiplied with every token of the call. A tile of three strips x four tokens keeps its sums
// in registers: a load of weights serves four dot products, one of activations twelve.
#pragma once

#include "kernels/neon/matmul_common.h"

namespace tern::kernels::neon {

// One superblock of one row as small integers in natural order: what a strip is made from.
struct Row {
    int8_t q[256];
    int16_t scale[16];  // per group; formats of 32 elements leave it alone
    int16_t min[16];    // formats of 256 elements with minimums only
    float d[8];         // per block
    float min_d[8];     // formats of 256 elements: dmin; of 32: what is added to each value
};

struct Strip {
    int8_t q[64][16];        // [k / 4][row * 4 + k % 4]
    int32_t scale[16][4];    // [group][row]: the group's scale minus the next one's (see tile_256)
    int16_t min[16][4];      // [group][row]
    float d[8][4];           // [block][row]
    float min_d[8][4];
};

inline constexpr size_t kTileStrips = 3;
inline constexpr int kTileTokens = 4;
inline constexpr size_t kPanelStrips = 2 * kTileStrips;
inline constexpr size_t kPanelRows = kPanelStrips * kTileRows;
inline constexpr size_t kTokenBlock = 512;  // tokens whose sums are kept at once

// One superblock of a tile, added to c[token * kPanelRows + row].
using Tile = void (*)(const Strip*, const ActBlock*, float* c, size_t blocks);
struct TileSet {
    Tile tile[2][kTileTokens];  // one strip, or kTileStrips; 1 to kTileTokens tokens
};
extern const TileSet kTiles256Groups8, kTiles256Groups8Min, kTiles256Groups16, kTiles256Groups16Min;
extern const TileSet kTiles32, kTiles32Min;

struct PanelFormat {
    size_t block, block_bytes;
    size_t groups;  // of a block of 256 elements
    bool has_min;
    const TileSet* tiles;
    // `blocks` blocks of a format of 32 elements, one of a format of 256.
    void (*unpack)(const uint8_t* p, size_t blocks, const FormatOps& ops, Row& out);
};

void run_panels(const PanelFormat& format, const FormatOps& ops, const MatmulArgs& args);
size_t panel_scratch_bytes(size_t tokens);

}  // namespace tern::kernels::neon
