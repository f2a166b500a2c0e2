#include "kernels/formats/iq2_xs.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ2_XS) == block_bytes(DType::IQ2_XS));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ2_XS>(block);
    out.d = f16_to_f32(b.d) * 0.125f;
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 16; ++s)
        out.scale[s] = static_cast<std::int16_t>(2 * ((b.scales[s / 2] >> (4 * (s % 2))) & 15) + 1);
    for (int g = 0; g < 32; ++g)
        signed_copy(out.q + 8 * g, kIqGrids.iq2_xs[b.qs[g] & 511], 8, kIqGrids.signs[b.qs[g] >> 9]);
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ2_XS, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ2_XS = {DType::IQ2_XS, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
