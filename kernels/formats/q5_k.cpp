#include "kernels/formats/q5_k.h"

#include "kernels/formats/common.h"
#include "kernels/formats/k_scales.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ5_K) == block_bytes(DType::Q5_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ5_K>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = f16_to_f32(b.dmin);
    unpack_k_scales(b.scales, out.scale, out.min);
    for (int p = 0; p < 4; ++p) {
        for (int l = 0; l < 32; ++l) {
            const int high0 = (b.qh[l] >> (2 * p)) & 1;
            const int high1 = (b.qh[l] >> (2 * p + 1)) & 1;
            out.q[64 * p + l] = static_cast<std::int8_t>((b.qs[32 * p + l] & 15) | high0 << 4);
            out.q[64 * p + 32 + l] = static_cast<std::int8_t>((b.qs[32 * p + l] >> 4) | high1 << 4);
        }
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q5_K, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q5_K = {DType::Q5_K, true, true, unpack, decode, nullptr};

}  // namespace tern::kernels
