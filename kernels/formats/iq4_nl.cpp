#include "kernels/formats/iq4_nl.h"

#include "kernels/formats/common.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockIQ4_NL) == block_bytes(DType::IQ4_NL));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockIQ4_NL>(block);
    out.d = f16_to_f32(b.d);
    plain_groups(out, 2);
    for (int j = 0; j < 16; ++j) {
        out.q[j] = kIq4Values[b.qs[j] & 15];
        out.q[j + 16] = kIq4Values[b.qs[j] >> 4];
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::IQ4_NL, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_IQ4_NL = {DType::IQ4_NL, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
