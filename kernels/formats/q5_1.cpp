#include "kernels/formats/q5_1.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ5_1) == block_bytes(DType::Q5_1));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ5_1>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = -f16_to_f32(b.m);
    fill16(out.scale, 1, 2);
    fill16(out.min, 1, 2);
    for (int j = 0; j < 16; ++j) {
        const int high0 = (b.qh[j / 8] >> (j % 8)) & 1;
        const int high1 = (b.qh[j / 8 + 2] >> (j % 8)) & 1;
        out.q[j] = static_cast<std::int8_t>((b.qs[j] & 15) | high0 << 4);
        out.q[j + 16] = static_cast<std::int8_t>((b.qs[j] >> 4) | high1 << 4);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q5_1, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q5_1 = {DType::Q5_1, true, true, unpack, decode, nullptr};

}  // namespace tern::kernels
