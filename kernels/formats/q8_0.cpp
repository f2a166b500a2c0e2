#include "kernels/formats/q8_0.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ8_0) == block_bytes(DType::Q8_0));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ8_0>(block);
    out.d = f16_to_f32(b.d);
    plain_groups(out, 2);
    std::memcpy(out.q, b.qs, sizeof b.qs);
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q8_0, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q8_0 = {DType::Q8_0, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
