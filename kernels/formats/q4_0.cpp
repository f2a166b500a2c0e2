#include "kernels/formats/q4_0.h"

#include "kernels/formats/common.h"
#include "kernels/formats/encode.h"

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

// Puts q + 8 in `q` and returns the weighted squared error.
float quantise(const Sample& s, float d, float* q) {
    float error = 0.0f;
    for (int j = 0; j < 32; ++j) {
        q[j] = nearest(clamp(s.x[j] / d, -8.0f, 7.0f));
        const float e = s.x[j] - d * q[j];
        error += s.w[j] * e * e;
    }
    return error;
}

void encode_block(const float* x, const float* importance, BlockQ4_0& b) {
    Sample s;
    take_sample(x, importance, 32, s);
    b = {};
    float best[32] = {};
    if (s.amax >= kLeastMagnitude) {
        // The extreme gets the end of the range that reaches farther.
        const float usual = store_scale(s.extreme / -8.0f, s.exponent, b.d);
        float best_error = quantise(s, usual, best);
        // Weights make another scale better: start from scales about the usual one, and solve for the scale
        // that is best for the integers found (least squares).
        for (int i = -9; importance != nullptr && i <= 9; ++i) {
            float q[32];
            quantise(s, s.extreme / (-8.0f + 0.125f * static_cast<float>(i)), q);
            float xq = 0.0f, qq = 0.0f;
            for (int j = 0; j < 32; ++j) {
                xq += s.w[j] * s.x[j] * q[j];
                qq += s.w[j] * q[j] * q[j];
            }
            if (qq == 0.0f) continue;
            std::uint16_t stored = 0;
            const float d = store_scale(xq / qq, s.exponent, stored);
            if (d == 0.0f) continue;
            const float error = quantise(s, d, q);
            if (error < best_error) {
                best_error = error;
                b.d = stored;
                std::memcpy(best, q, sizeof q);
            }
        }
    }
    for (int j = 0; j < 16; ++j) {
        const int low = static_cast<int>(best[j]) + 8;
        const int high = static_cast<int>(best[j + 16]) + 8;
        b.qs[j] = static_cast<std::uint8_t>(low | high << 4);
    }
}

void encode(const float* x, const float* importance, void* blocks, std::size_t n) {
    auto* p = static_cast<unsigned char*>(blocks);
    for (std::size_t i = 0; i + 32 <= n; i += 32, p += sizeof(BlockQ4_0)) {
        BlockQ4_0 b;
        encode_block(x + i, importance == nullptr ? nullptr : importance + i, b);
        std::memcpy(p, &b, sizeof b);
    }
}

}  // namespace

const FormatOps kFormatOps_Q4_0 = {DType::Q4_0, true, false, unpack, decode, encode};

}  // namespace tern::kernels
