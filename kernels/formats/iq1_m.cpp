#include "kernels/formats/iq1_m.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ1_M) == block_bytes(DType::IQ1_M));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ1_M>(block);
    int d = 0;
    for (int w = 0; w < 4; ++w) {
        const int word = b.scales[2 * w] | b.scales[2 * w + 1] << 8;
        d |= (word >> 12) << (4 * w);
        for (int i = 0; i < 4; ++i)
            out.scale[4 * w + i] = static_cast<std::int16_t>(2 * ((word >> (3 * i)) & 7) + 1);
    }
    out.d = f16_to_f32(static_cast<std::uint16_t>(d)) * 0.125f;
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int g = 0; g < 32; ++g) {
        const int high = (b.qh[g / 2] >> (4 * (g % 2))) & 15;
        const int index = b.qs[g] | (high & 7) << 8;
        const int shift = (high & 8) != 0 ? -1 : 1;
        const std::int8_t* grid = kIqGrids.iq1[index];
        for (int j = 0; j < 8; ++j) out.q[8 * g + j] = static_cast<std::int8_t>(8 * grid[j] + shift);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ1_M, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ1_M = {DType::IQ1_M, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
