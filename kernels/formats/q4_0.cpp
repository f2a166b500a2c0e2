#include "kernels/formats/q4_0.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ4_0) == block_bytes(DType::Q4_0));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ4_0>(block);
    out.d = f16_to_f32(b.d);
    plain_groups(out, 2);
    for (int j = 0; j < 16; ++j) {
        out.q[j] = static_cast<std::int8_t>((b.qs[j] & 15) - 8);
        out.q[j + 16] = static_cast<std::int8_t>((b.qs[j] >> 4) - 8);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q4_0, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q4_0 = {DType::Q4_0, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
