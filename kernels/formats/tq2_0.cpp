#include "kernels/formats/tq2_0.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockTQ2_0) == block_bytes(DType::TQ2_0));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockTQ2_0>(block);
    out.d = f16_to_f32(b.d);
    plain_groups(out, 16);
    for (int k = 0; k < 256; ++k) {
        const int half = k / 128, shift = 2 * (k / 32 % 4);
        out.q[k] = static_cast<std::int8_t>(((b.qs[32 * half + k % 32] >> shift) & 3) - 1);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::TQ2_0, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_TQ2_0 = {DType::TQ2_0, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
