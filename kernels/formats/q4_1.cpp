#include "kernels/formats/q4_1.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ4_1) == block_bytes(DType::Q4_1));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ4_1>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = -f16_to_f32(b.m);
    fill16(out.scale, 1, 2);
    fill16(out.min, 1, 2);
    for (int j = 0; j < 16; ++j) {
        out.q[j] = static_cast<std::int8_t>(b.qs[j] & 15);
        out.q[j + 16] = static_cast<std::int8_t>(b.qs[j] >> 4);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q4_1, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q4_1 = {DType::Q4_1, true, true, unpack, decode, nullptr};

}  // namespace tern::kernels
