#include "kernels/formats/q6_k.h"

#include <cmath>

#include "kernels/formats/common.h"
#include "kernels/formats/encode.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ6_K) == block_bytes(DType::Q6_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ6_K>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = 0.0f;
    fill16(out.min, 0, 16);
    for (int g = 0; g < 16; ++g) out.scale[g] = b.scales[g];
    for (int h = 0; h < 2; ++h) {
        for (int l = 0; l < 64; ++l) {
            const int low = b.ql[64 * h + l];
            const int high = b.qh[32 * h + l % 32] >> (2 * (l / 32));
            out.q[128 * h + l] = static_cast<std::int8_t>(((low & 15) | (high & 3) << 4) - 32);
            out.q[128 * h + 64 + l] = static_cast<std::int8_t>(((low >> 4) | ((high >> 4) & 3) << 4) - 32);
        }
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q6_K, unpack, blocks, out, n);
}

// The search of the encoder. With sub-block scales s = d * scale, minimise
//   sum over elements of w * (x - s * q)^2     -32 <= q <= 31, -128 <= scale <= 127, d in f16.
// For fixed s the best q is the nearest one; for fixed q the error is quadratic in s. So: find s of every
// sub-block alone; round d; search the scales on the exact error; solve for d again.

// Writes q and returns the weighted squared error.
float quantise(const float* x, const float* w, float s, float* q) {
    const float inverse = s != 0.0f ? 1.0f / s : 0.0f;
    float error[16];
    for (int j = 0; j < 16; ++j) {
        q[j] = nearest(clamp(x[j] * inverse, -32.0f, 31.0f));
        const float e = x[j] - s * q[j];
        error[j] = w[j] * e * e;
    }
    return tree_sum(error);
}

// The best s of one sub-block, unrounded.
float fit_sub_block(const float* x, const float* w) {
    float extreme = 0.0f;
    for (int j = 0; j < 16; ++j) extreme = std::fabs(x[j]) > std::fabs(extreme) ? x[j] : extreme;
    if (extreme == 0.0f) return 0.0f;
    float best = extreme / -32.0f;
    float best_gain = 0.0f;
    // The extreme lands near -32: s has the other sign.
    for (int i = -6; i <= 10; ++i) {
        const float inverse = (-32.0f - 0.25f * static_cast<float>(i)) / extreme;
        float wxq[16], wqq[16];
        for (int j = 0; j < 16; ++j) {
            const float q = nearest(clamp(x[j] * inverse, -32.0f, 31.0f));
            wxq[j] = w[j] * x[j] * q;
            wqq[j] = w[j] * q * q;
        }
        const float sxq = tree_sum(wxq), sqq = tree_sum(wqq);
        if (!(sqq > 0.0f)) continue;
        // With s = sxq / sqq the error is the sum of w * x^2 less this.
        const float gain = sxq * sxq / sqq;
        if (gain > best_gain) {
            best_gain = gain;
            best = sxq / sqq;
        }
    }
    return best;
}

struct Solution {
    std::uint16_t d = 0;
    std::int8_t scale[16] = {};
    alignas(64) float q[256] = {};
    float error = INFINITY;
};

void search_levels(const Sample& sample, const float* fits, float d, Solution& out) {
    out.error = 0.0f;
    for (int i = 0; i < 16; ++i) {
        const float* x = sample.x + 16 * i;
        const float* w = sample.w + 16 * i;
        const float first = d != 0.0f ? nearest(clamp(fits[i] / d, -128.0f, 127.0f)) : 0.0f;
        float best = INFINITY;
        for (int step = -2; step <= 2; ++step) {
            const float scale = first + static_cast<float>(step);
            if (scale < -128.0f || scale > 127.0f) continue;
            float q[16];
            const float error = quantise(x, w, d * scale, q);
            if (error < best) {
                best = error;
                out.scale[i] = static_cast<std::int8_t>(scale);
                std::memcpy(out.q + 16 * i, q, sizeof q);
            }
        }
        out.error += best;
    }
}

// The d that is best for given integers.
float solve_super_block(const Sample& sample, const Solution& solution) {
    float waa[256], wxa[256];
    for (int j = 0; j < 256; ++j) {
        const float a = static_cast<float>(solution.scale[j / 16]) * solution.q[j];
        waa[j] = sample.w[j] * a * a;
        wxa[j] = sample.w[j] * sample.x[j] * a;
    }
    const float aa = tree_sum(waa), xa = tree_sum(wxa);
    return aa > 0.0f ? xa / aa : 0.0f;
}

void encode_block(const float* x, const float* importance, BlockQ6_K& b) {
    Sample sample;
    take_sample(x, importance, 256, sample);
    Solution best;
    if (sample.amax >= kLeastMagnitude) {
        float fits[16];
        float largest = 0.0f;
        for (int i = 0; i < 16; ++i) {
            fits[i] = fit_sub_block(sample.x + 16 * i, sample.w + 16 * i);
            if (std::fabs(fits[i]) > std::fabs(largest)) largest = fits[i];
        }
        float unit = largest / -128.0f;
        for (int round = 0; round < 3; ++round) {
            Solution next;
            const float d = store_scale(unit, sample.exponent, next.d);
            search_levels(sample, fits, d, next);
            if (!(next.error < best.error)) break;
            best = next;
            unit = solve_super_block(sample, best);
        }
    }

    b = {};
    b.d = best.d;
    std::memcpy(b.scales, best.scale, sizeof best.scale);
    for (int h = 0; h < 2; ++h) {
        for (int l = 0; l < 128; ++l) {
            const int q = static_cast<int>(best.q[128 * h + l]) + 32;
            b.ql[64 * h + l % 64] |= static_cast<std::uint8_t>((q & 15) << (4 * (l / 64)));
            b.qh[32 * h + l % 32] |= static_cast<std::uint8_t>((q >> 4) << (2 * (l / 32)));
        }
    }
}

void encode(const float* x, const float* importance, void* blocks, std::size_t n) {
    auto* p = static_cast<unsigned char*>(blocks);
    for (std::size_t i = 0; i + 256 <= n; i += 256, p += sizeof(BlockQ6_K)) {
        BlockQ6_K b;
        encode_block(x + i, importance == nullptr ? nullptr : importance + i, b);
        std::memcpy(p, &b, sizeof b);
    }
}

}  // namespace

const FormatOps kFormatOps_Q6_K = {DType::Q6_K, true, false, unpack, decode, encode};

}  // namespace tern::kernels
