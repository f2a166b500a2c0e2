#include "kernels/formats/iq3_xxs.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ3_XXS) == block_bytes(DType::IQ3_XXS));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ3_XXS>(block);
    out.d = f16_to_f32(b.d) * 0.25f;
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 8; ++s) {
        std::uint32_t word = 0;
        for (int i = 0; i < 4; ++i) word |= static_cast<std::uint32_t>(b.scales_signs[4 * s + i]) << (8 * i);
        fill16(out.scale + 2 * s, static_cast<std::int16_t>(2 * (word >> 28) + 1), 2);
        for (int g = 0; g < 8; ++g) {
            const std::uint8_t signs = kIqGrids.signs[(word >> (7 * (g / 2))) & 127];
            signed_copy(out.q + 32 * s + 4 * g, kIqGrids.iq3_xxs[b.qs[8 * s + g]], 4, signs >> (4 * (g % 2)));
        }
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ3_XXS, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ3_XXS = {DType::IQ3_XXS, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
