#include "kernels/formats/iq4_xs.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ4_XS) == block_bytes(DType::IQ4_XS));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ4_XS>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 8; ++s) {
        const int low = (b.scales_l[s / 2] >> (4 * (s % 2))) & 15;
        const int high = (b.scales_h >> (2 * s)) & 3;
        fill16(out.scale + 2 * s, static_cast<std::int16_t>((low | high << 4) - 32), 2);
        for (int j = 0; j < 16; ++j) {
            out.q[32 * s + j] = kIq4Values[b.qs[16 * s + j] & 15];
            out.q[32 * s + 16 + j] = kIq4Values[b.qs[16 * s + j] >> 4];
        }
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ4_XS, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ4_XS = {DType::IQ4_XS, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
