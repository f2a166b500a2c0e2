#include "kernels/formats/q2_k.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ2_K) == block_bytes(DType::Q2_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ2_K>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = f16_to_f32(b.dmin);
    for (int g = 0; g < 16; ++g) {
        out.scale[g] = b.scales[g] & 15;
        out.min[g] = b.scales[g] >> 4;
    }
    for (int k = 0; k < 256; ++k) {
        const int half = k / 128, shift = 2 * (k / 32 % 4);
        out.q[k] = static_cast<std::int8_t>((b.qs[32 * half + k % 32] >> shift) & 3);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q2_K, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q2_K = {DType::Q2_K, true, true, unpack, decode, nullptr};

}  // namespace tern::kernels
