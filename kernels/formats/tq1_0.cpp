#include "kernels/formats/tq1_0.h"

#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockTQ1_0) == block_bytes(DType::TQ1_0));

std::int8_t ternary(std::uint8_t byte, std::uint8_t power) {
    const auto fraction = static_cast<std::uint8_t>(byte * power);
    return static_cast<std::int8_t>(((fraction * 3) >> 8) - 1);
}

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockTQ1_0>(block);
    out.d = f16_to_f32(b.d);
    plain_groups(out, 16);
    // Multiplying by a power of 3 brings a digit to the front, as a fraction of 256.
    std::uint8_t power = 1;
    for (int n = 0; n < 5; ++n, power = static_cast<std::uint8_t>(power * 3)) {
        for (int m = 0; m < 32; ++m) out.q[32 * n + m] = ternary(b.qs[m], power);
        for (int m = 0; m < 16; ++m) out.q[160 + 16 * n + m] = ternary(b.qs[32 + m], power);
        if (n == 4) break;
        for (int m = 0; m < 4; ++m) out.q[240 + 4 * n + m] = ternary(b.qh[m], power);
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::TQ1_0, unpack, blocks, out, n);
}

}  // namespace

const FormatOps kFormatOps_TQ1_0 = {DType::TQ1_0, true, false, unpack, decode, nullptr};

}  // namespace tern::kernels
