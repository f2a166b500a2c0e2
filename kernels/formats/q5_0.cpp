#include "kernels/formats/q5_0.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ5_0) == block_bytes(DType::Q5_0));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ5_0>(block);
    out.d = f16_to_f32(b.d);
    plain_groups(out, 2);
    for (int j = 0; j < 16; ++j) {
        const int high0 = (b.qh[j / 8] >> (j % 8)) & 1;
        const int high1 = (b.qh[j / 8 + 2] >> (j % 8)) & 1;
        out.q[j] = static_cast<std::int8_t>(((b.qs[j] & 15) | high0 << 4) - 16);
        out.q[j + 16] = static_cast<std::int8_t>(((b.qs[j] >> 4) | high1 << 4) - 16);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q5_0, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q5_0 = {DType::Q5_0, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
