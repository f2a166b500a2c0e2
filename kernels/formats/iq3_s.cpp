#include "kernels/formats/iq3_s.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ3_S) == block_bytes(DType::IQ3_S));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ3_S>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 8; ++s) {
        const int scale = (b.scales[s / 2] >> (4 * (s % 2))) & 15;
        fill16(out.scale + 2 * s, static_cast<std::int16_t>(2 * scale + 1), 2);
    }
    for (int g = 0; g < 64; ++g) {
        const int index = b.qs[g] | ((b.qh[g / 8] >> (g % 8)) & 1) << 8;
        signed_copy(out.q + 4 * g, kIqGrids.iq3_s[index], 4, b.signs[g / 2] >> (4 * (g % 2)));
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ3_S, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ3_S = {DType::IQ3_S, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
