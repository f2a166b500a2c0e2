#include "kernels/formats/mxfp4.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockMXFP4) == block_bytes(DType::MXFP4));

// E2M1, doubled: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. As integers the negative zero is a zero.
constexpr std::int8_t kDoubledE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockMXFP4>(block);
    out.d = kHalfE8M0[b.e];
    plain_groups(out, 2);
    for (int j = 0; j < 16; ++j) {
        out.q[j] = kDoubledE2M1[b.qs[j] & 15];
        out.q[j + 16] = kDoubledE2M1[b.qs[j] >> 4];
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::MXFP4, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_MXFP4 = {DType::MXFP4, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
