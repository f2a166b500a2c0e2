#include "kernels/formats/q4_k.h"

#include <cmath>

#include "kernels/formats/common.h"
#include "kernels/formats/encode.h"
#include "kernels/formats/k_scales.h"

namespace tern::kernels {
namespace {

static_assert(sizeof(BlockQ4_K) == block_bytes(DType::Q4_K));

void unpack(const void* block, UnpackedBlock& out) {
    const auto b = load_block<BlockQ4_K>(block);
    out.d = f16_to_f32(b.d);
    out.dmin = f16_to_f32(b.dmin);
    unpack_k_scales(b.scales, out.scale, out.min);
    for (int p = 0; p < 4; ++p) {
        for (int l = 0; l < 32; ++l) {
            out.q[64 * p + l] = static_cast<std::int8_t>(b.qs[32 * p + l] & 15);
            out.q[64 * p + 32 + l] = static_cast<std::int8_t>(b.qs[32 * p + l] >> 4);
        }
    }
}

void decode(const void* blocks, float* out, std::size_t n) {
    decode_unpacked(DType::Q4_K, unpack, blocks, out, n);
}

// The search of the encoder. With sub-block scales s = d * scale and minimums m = dmin * min, minimise
//   sum over elements of w * (x - (s * q - m))^2     0 <= q <= 15, 0 <= scale, min <= 63, d and dmin in f16.
// For fixed s and m the best q is the nearest one; for fixed q the error is a quadratic form. So: find s and
// m of every sub-block alone; round d and dmin; search scales and minimums on the exact error; solve for d
// and dmin again.
struct Fit {
    float s = 0.0f;
    float m = 0.0f;
};

// The best s and m >= 0 of one sub-block, unrounded.
Fit fit_sub_block(const float* x, const float* w) {
    float lo = 0.0f, hi = x[0];
    float sw = 0.0f, sx = 0.0f, sxx = 0.0f;
    for (int j = 0; j < 32; ++j) {
        lo = x[j] < lo ? x[j] : lo;
        hi = x[j] > hi ? x[j] : hi;
        sw += w[j];
        sx += w[j] * x[j];
        sxx += w[j] * x[j] * x[j];
    }
    Fit best{0.0f, -lo};
    if (!(hi > lo)) return best;
    best.s = (hi - lo) / 15.0f;
    float best_error = INFINITY;

    // Quantises, solves for the s and m of those integers, and keeps them when they are better.
    const auto improve = [&](float inverse, float m) {
        float wq[32], wqq[32], wxq[32];
        for (int j = 0; j < 32; ++j) {
            const float q = nearest(clamp((x[j] + m) * inverse, 0.0f, 15.0f));
            wq[j] = w[j] * q;
            wqq[j] = wq[j] * q;
            wxq[j] = wq[j] * x[j];
        }
        const float sq = tree_sum(wq), sqq = tree_sum(wqq), sxq = tree_sum(wxq);
        const float determinant = sw * sqq - sq * sq;
        if (!(determinant > 0.0f)) return false;
        Fit fit{(sw * sxq - sx * sq) / determinant, (sq * sxq - sqq * sx) / determinant};
        if (fit.m < 0.0f) fit = {sxq / sqq, 0.0f};
        if (!(fit.s > 0.0f)) return false;
        // sum of w * (x - s q + m)^2, expanded.
        const float error =
            sxx + fit.s * (fit.s * sqq - 2.0f * sxq) + fit.m * (fit.m * sw + 2.0f * (sx - fit.s * sq));
        if (!(error < best_error)) return false;
        best_error = error;
        best = fit;
        return true;
    };

    // Less than the whole range for the 15 steps clips the ends, which pays where they are rare or weigh
    // little.
    constexpr float kCuts[] = {-0.02f, 0.02f, 0.06f, 0.12f};
    for (const float low_cut : kCuts) {
        for (const float high_cut : kCuts) {
            const float m = -lo - low_cut * (hi - lo);
            improve(15.0f / ((1.0f - low_cut - high_cut) * (hi - lo)), m);
        }
    }
    for (int i = 0; i < 4 && improve(1.0f / best.s, best.m); ++i) {
    }
    return best;
}

// Writes q and returns the weighted squared error.
float quantise(const float* x, const float* w, float s, float m, float* q) {
    const float inverse = s > 0.0f ? 1.0f / s : 0.0f;
    float error[32];
    for (int j = 0; j < 32; ++j) {
        const float shifted = x[j] + m;
        q[j] = nearest(clamp(shifted * inverse, 0.0f, 15.0f));
        const float e = shifted - s * q[j];
        error[j] = w[j] * e * e;
    }
    return tree_sum(error);
}

float weighted_mean_residue(const float* x, const float* w, float s, const float* q) {
    float sum[32], weight[32];
    for (int j = 0; j < 32; ++j) {
        sum[j] = w[j] * (s * q[j] - x[j]);
        weight[j] = w[j];
    }
    return tree_sum(sum) / tree_sum(weight);
}

struct Solution {
    std::uint16_t d = 0, dmin = 0;
    std::uint8_t scale[8] = {};
    std::uint8_t min[8] = {};
    alignas(64) float q[256] = {};
    float error = INFINITY;
};

float level(float value, float unit) {
    return unit > 0.0f ? nearest(clamp(value / unit, 0.0f, 63.0f)) : 0.0f;
}

// Scales, minimums and q for given d and dmin, near the unrounded fits.
void search_levels(const Sample& sample, const Fit* fits, float d, float dmin, Solution& out) {
    out.error = 0.0f;
    for (int i = 0; i < 8; ++i) {
        const float* x = sample.x + 32 * i;
        const float* w = sample.w + 32 * i;
        const float first_scale = level(fits[i].s, d);
        float best = INFINITY;
        for (int step = -1; step <= 1; ++step) {
            const float scale = first_scale + static_cast<float>(step);
            if (scale < 0.0f || scale > 63.0f) continue;
            float q[32];
            // The minimum that suits this scale; one alternation is enough next to the optimum.
            quantise(x, w, d * scale, fits[i].m, q);
            const float first_min = level(weighted_mean_residue(x, w, d * scale, q), dmin);
            for (int min_step = -1; min_step <= 1; ++min_step) {
                const float min = first_min + static_cast<float>(min_step);
                if (min < 0.0f || min > 63.0f) continue;
                const float error = quantise(x, w, d * scale, dmin * min, q);
                if (error < best) {
                    best = error;
                    out.scale[i] = static_cast<std::uint8_t>(scale);
                    out.min[i] = static_cast<std::uint8_t>(min);
                    std::memcpy(out.q + 32 * i, q, sizeof q);
                }
            }
        }
        out.error += best;
    }
}

// The d and dmin that are best for given integers.
Fit solve_super_block(const Sample& sample, const Solution& solution) {
    float aa = 0.0f, ab = 0.0f, bb = 0.0f, xa = 0.0f, xb = 0.0f;
    for (int i = 0; i < 8; ++i) {
        const auto scale = static_cast<float>(solution.scale[i]);
        const auto b = static_cast<float>(solution.min[i]);
        float waa[32], wab[32], wbb[32], wxa[32], wxb[32];
        for (int j = 0; j < 32; ++j) {
            const float x = sample.x[32 * i + j], w = sample.w[32 * i + j];
            const float a = scale * solution.q[32 * i + j];
            waa[j] = w * a * a;
            wab[j] = w * a * b;
            wbb[j] = w * b * b;
            wxa[j] = w * x * a;
            wxb[j] = w * x * b;
        }
        aa += tree_sum(waa);
        ab += tree_sum(wab);
        bb += tree_sum(wbb);
        xa += tree_sum(wxa);
        xb += tree_sum(wxb);
    }
    const float determinant = aa * bb - ab * ab;
    if (determinant > 1e-6f * aa * bb)
        return {(xa * bb - xb * ab) / determinant, (xa * ab - xb * aa) / determinant};
    if (aa > 0.0f) return {xa / aa, 0.0f};
    return {0.0f, bb > 0.0f ? -xb / bb : 0.0f};
}

void encode_block(const float* x, const float* importance, BlockQ4_K& b) {
    Sample sample;
    take_sample(x, importance, 256, sample);
    b = {};
    if (sample.amax < kLeastMagnitude) return;

    Fit fits[8];
    Fit unit;
    for (int i = 0; i < 8; ++i) {
        fits[i] = fit_sub_block(sample.x + 32 * i, sample.w + 32 * i);
        unit.s = fits[i].s > unit.s ? fits[i].s : unit.s;
        unit.m = fits[i].m > unit.m ? fits[i].m : unit.m;
    }
    unit.s /= 63.0f;
    unit.m /= 63.0f;

    Solution best;
    for (int round = 0; round < 3; ++round) {
        Solution next;
        const float d = store_scale(unit.s, sample.exponent, next.d);
        const float dmin = store_scale(unit.m, sample.exponent, next.dmin);
        search_levels(sample, fits, d, dmin, next);
        if (!(next.error < best.error)) break;
        best = next;
        unit = solve_super_block(sample, best);
        if (!(unit.s >= 0.0f && unit.m >= 0.0f)) break;
    }

    b.d = best.d;
    b.dmin = best.dmin;
    pack_k_scales(best.scale, best.min, b.scales);
    for (int p = 0; p < 4; ++p) {
        for (int l = 0; l < 32; ++l) {
            const int low = static_cast<int>(best.q[64 * p + l]);
            const int high = static_cast<int>(best.q[64 * p + 32 + l]);
            b.qs[32 * p + l] = static_cast<std::uint8_t>(low | high << 4);
        }
    }
}

void encode(const float* x, const float* importance, void* blocks, std::size_t n) {
    auto* p = static_cast<unsigned char*>(blocks);
    for (std::size_t i = 0; i + 256 <= n; i += 256, p += sizeof(BlockQ4_K)) {
        BlockQ4_K b;
        encode_block(x + i, importance == nullptr ? nullptr : importance + i, b);
        std::memcpy(p, &b, sizeof b);
    }
}

}  // namespace

const FormatOps kFormatOps_Q4_K = {DType::Q4_K, true, true, unpack, decode, encode};

}  // namespace tern::kernels
