#include "kernels/formats/q3_k.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ3_K) == block_bytes(DType::Q3_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ3_K>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int g = 0; g < 16; ++g) {
        const int low = g < 8 ? b.scales[g] & 15 : b.scales[g - 8] >> 4;
        const int high = (b.scales[8 + g % 4] >> (2 * (g / 4))) & 3;
        out.scale[g] = static_cast<std::int16_t>((low | high << 4) - 32);
    }
    for (int k = 0; k < 256; ++k) {
        const int low = (b.qs[32 * (k / 128) + k % 32] >> (2 * (k / 32 % 4))) & 3;
        const int high = (b.hmask[k % 32] >> (k / 32)) & 1;
        out.q[k] = static_cast<std::int8_t>((low | high << 2) - 4);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q3_K, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q3_K = {DType::Q3_K, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
