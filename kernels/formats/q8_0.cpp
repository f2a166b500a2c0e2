#include "kernels/formats/q8_0.h"

#include "kernels/formats/common.h"
#include "kernels/formats/encode.h"

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

void encode_block(const float* x, BlockQ8_0& b) {
    Sample s;
    take_sample(x, nullptr, 32, s);
    b = {};
    if (s.amax < kLeastMagnitude) return;
    const float d = store_scale((s.extreme < 0.0f ? -s.extreme : s.extreme) / 127.0f, s.exponent, b.d);
    // By the scale as stored, not the ideal one: its rounding then costs nothing.
    for (int j = 0; j < 32; ++j)
        b.qs[j] = static_cast<std::int8_t>(nearest(clamp(s.x[j] / d, -127.0f, 127.0f)));
}

void encode(const float* x, const float*, void* blocks, std::size_t n) {
    auto* p = static_cast<unsigned char*>(blocks);
    for (std::size_t i = 0; i + 32 <= n; i += 32, p += sizeof(BlockQ8_0)) {
        BlockQ8_0 b;
        encode_block(x + i, b);
        std::memcpy(p, &b, sizeof b);
    }
}

}  // namespace

const FormatOps kFormatOps_Q8_0 = {DType::Q8_0, true, false, unpack, decode, encode};

}  // namespace tern::kernels
