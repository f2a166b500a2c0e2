#include "kernels/formats/q6_k.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ6_K) == block_bytes(DType::Q6_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ6_K>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int g = 0; g < 16; ++g) out.scale[g] = b.scales[g];
    for (int h = 0; h < 2; ++h) {
        for (int l = 0; l < 64; ++l) {
            const int low = b.ql[64 * h + l];
            const int high = b.qh[32 * h + l % 32] >> (2 * (l / 32));
            out.q[128 * h + l] = static_cast<std::int8_t>(((low & 15) | (high & 3) << 4) - 32);
            out.q[128 * h + 64 + l] = static_cast<std::int8_t>(((low >> 4) | ((high >> 4) & 3) << 4) - 32);
        }
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q6_K, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q6_K = {DType::Q6_K, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
