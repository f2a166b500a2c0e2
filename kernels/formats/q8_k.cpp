#include "kernels/formats/q8_k.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ8_K) == block_bytes(DType::Q8_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ8_K>(block);
    out.d = b.d;
    plain_groups(out, 16);
    std::memcpy(out.q, b.qs, sizeof b.qs);
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q8_K, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_Q8_K = {DType::Q8_K, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
