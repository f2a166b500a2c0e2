#include "kernels/formats/iq2_s.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ2_S) == block_bytes(DType::IQ2_S));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ2_S>(block);
    out.d = f16_to_f32(b.d) * 0.125f;
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 16; ++s)
        out.scale[s] = static_cast<std::int16_t>(2 * ((b.scales[s / 2] >> (4 * (s % 2))) & 15) + 1);
    for (int g = 0; g < 32; ++g) {
        const int index = b.qs[g] | ((b.qh[g / 4] >> (2 * (g % 4))) & 3) << 8;
        signed_copy(out.q + 8 * g, kIqGrids.iq2_s[index], 8, b.signs[g]);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ2_S, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ2_S = {DType::IQ2_S, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
