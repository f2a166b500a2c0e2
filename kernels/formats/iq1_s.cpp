#include "kernels/formats/iq1_s.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ1_S) == block_bytes(DType::IQ1_S));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ1_S>(block);
    out.d = f16_to_f32(b.d) * 0.125f;
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 8; ++s)
        fill16(out.scale + 2 * s, static_cast<std::int16_t>(2 * ((b.qh[s] >> 12) & 7) + 1), 2);
    for (int g = 0; g < 32; ++g) {
        const int qh = b.qh[g / 4];
        const int index = b.qs[g] | ((qh >> (3 * (g % 4))) & 7) << 8;
        const int shift = (qh & 0x8000) != 0 ? -1 : 1;
        const std::int8_t* grid = kIqGrids.iq1[index];
        for (int j = 0; j < 8; ++j) out.q[8 * g + j] = static_cast<std::int8_t>(8 * grid[j] + shift);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ1_S, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ1_S = {DType::IQ1_S, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
