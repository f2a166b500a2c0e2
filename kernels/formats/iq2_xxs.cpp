#include "kernels/formats/iq2_xxs.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ2_XXS) == block_bytes(DType::IQ2_XXS));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ2_XXS>(block);
    out.d = f16_to_f32(b.d) * 0.125f;
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int s = 0; s < 8; ++s) {
        const std::uint32_t indices = b.qs[4 * s] | static_cast<std::uint32_t>(b.qs[4 * s + 1]) << 16;
        const std::uint32_t word = b.qs[4 * s + 2] | static_cast<std::uint32_t>(b.qs[4 * s + 3]) << 16;
        fill16(out.scale + 2 * s, static_cast<std::int16_t>(2 * (word >> 28) + 1), 2);
        for (int g = 0; g < 4; ++g)
            signed_copy(out.q + 32 * s + 8 * g, kIqGrids.iq2_xxs[(indices >> (8 * g)) & 255], 8,
                        kIqGrids.signs[(word >> (7 * g)) & 127]);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ2_XXS, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ2_XXS = {DType::IQ2_XXS, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
