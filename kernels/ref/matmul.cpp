// Matrix products of every format: the definition, in plain loops.
#include <cmath>

#include "kernels/formats/format.h"
#include "kernels/ref/ref.h"
#include "kernels/ref/scalar.h"

namespace tern::kernels::ref {
namespace {

constexpr std::size_t kActBlock = 256;

std::size_t no_scratch(std::size_t, std::size_t) { return 0; }

template <std::size_t kWidth, float (*load)(const std::uint8_t*)>
void matmul_float(const MatmulArgs& a) {
    const auto* w = static_cast<const std::uint8_t*>(a.w);
    const auto* x = static_cast<const float*>(a.act);
    for (std::size_t r = 0; r < a.rows; ++r, w += a.w_row_bytes)
        for (std::size_t t = 0; t < a.tokens; ++t) {
            const float* xt = x + t * a.act_stride;
            float stripes[kStripes] = {};
            for (std::size_t k = 0; k < a.k; ++k)
                stripes[k % kStripes] = std::fma(load(w + k * kWidth), xt[k], stripes[k % kStripes]);
            a.out[t * a.out_stride + r] = tree(stripes);
        }
}

struct IntegerSums {
    std::int32_t s;  // sum over groups of scale * sum(q * activation)
    std::int32_t m;  // sum over groups of min * sum(activation)
};

IntegerSums integer_sums(const UnpackedBlock& block, const std::int8_t* q, std::size_t n) {
    IntegerSums sums{0, 0};
    for (std::size_t group = 0; group < n / 16; ++group) {
        std::int32_t dot = 0;
        std::int32_t plain = 0;
        for (std::size_t i = group * 16; i < group * 16 + 16; ++i) {
            dot += std::int32_t{block.q[i]} * std::int32_t{q[i]};
            plain += q[i];
        }
        sums.s += std::int32_t{block.scale[group]} * dot;
        sums.m += std::int32_t{block.min[group]} * plain;
    }
    return sums;
}

// Blocks of 256 with activations of one scale per 256.
void accumulate_256(const UnpackedBlock& block, bool has_min, const ActBlock& act, float& acc) {
    const IntegerSums sums = integer_sums(block, act.q, 256);
    float u = block.d * static_cast<float>(sums.s);
    if (has_min) {
        const float t = block.dmin * static_cast<float>(sums.m);
        u = std::fma(block.d, static_cast<float>(sums.s), -t);
    }
    acc = std::fma(act.k.d, u, acc);
}

// Blocks of 32 with activations of one scale per 32.
void accumulate_32(const UnpackedBlock& block, bool has_min, const ActBlock& act, std::size_t part, float& acc) {
    const IntegerSums sums = integer_sums(block, act.q + part * 32, 32);
    const float da = act.b.d[part];
    acc = std::fma(block.d * da, static_cast<float>(sums.s), acc);
    if (has_min) acc = std::fma(-(block.dmin * da), static_cast<float>(sums.m), acc);
}

template <DType kDType, std::size_t kBlock, std::size_t kBytes>
void matmul_quantised(const MatmulArgs& a) {
    const FormatOps& ops = format_ops(kDType);
    const auto* w = static_cast<const std::uint8_t*>(a.w);
    const auto* act = static_cast<const ActBlock*>(a.act);
    for (std::size_t r = 0; r < a.rows; ++r, w += a.w_row_bytes) {
        for (std::size_t t = 0; t < a.tokens; ++t) a.out[t * a.out_stride + r] = 0.0f;
        for (std::size_t b = 0; b < a.k / kBlock; ++b) {
            UnpackedBlock block;
            ops.unpack(w + b * kBytes, block);
            const ActBlock* column = act + b * kBlock / kActBlock * a.act_stride;
            for (std::size_t t = 0; t < a.tokens; ++t) {
                float& acc = a.out[t * a.out_stride + r];
                if constexpr (kBlock == kActBlock)
                    accumulate_256(block, ops.has_min, column[t], acc);
                else
                    accumulate_32(block, ops.has_min, column[t], b % (kActBlock / kBlock), acc);
            }
        }
    }
}

template <DType kDType, std::size_t kBlock, std::size_t kBytes>
void set_matmul(KernelTable& table) {
    MatmulKernel& kernel = table.matmul[static_cast<std::size_t>(kDType)];
    kernel.scratch_bytes = no_scratch;
    if constexpr (kDType == DType::F32)
        kernel.run = matmul_float<4, load_f32>;
    else if constexpr (kDType == DType::F16)
        kernel.run = matmul_float<2, load_f16>;
    else if constexpr (kDType == DType::BF16)
        kernel.run = matmul_float<2, load_bf16>;
    else {
        static_assert(kBlock == 32 || kBlock == kActBlock, "no activation kind for this block length");
        kernel.run = matmul_quantised<kDType, kBlock, kBytes>;
    }
}

}  // namespace

void fill_matmul(KernelTable& table) {
#define TERN_FORMAT(name, id, block, bytes)                             \
    static_assert((id) < kFormatSlots, "kFormatSlots is too small");    \
    set_matmul<DType::name, block, bytes>(table);
#include <tern/formats.def>
#undef TERN_FORMAT
}

// ---- activations ------------------------------------------------------------------------------------------------
namespace {

// Quantises n values with one scale; returns the scale.
float quantize(const float* x, std::size_t n, std::int8_t* q) {
    std::uint32_t largest = 0;  // of the bits without sign: ordered as the magnitudes, NaN above infinity
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint32_t magnitude = bits_of(x[i]) & 0x7fffffff;
        if (magnitude > largest) largest = magnitude;
    }
    std::memset(q, 0, n);
    if (largest >= 0x7f800000) return std::numeric_limits<float>::quiet_NaN();
    const float amax = from_bits(largest);
    if (amax < 0x1p-100f) return 0.0f;
    const float inverse = 127.0f / amax;
    for (std::size_t i = 0; i < n; ++i) {
        float rounded = round_even(x[i] * inverse);
        rounded = rounded > 127.0f ? 127.0f : rounded < -127.0f ? -127.0f : rounded;
        q[i] = static_cast<std::int8_t>(rounded);
    }
    return amax / 127.0f;
}

std::int16_t sum_of(const std::int8_t* q, std::size_t n) {
    int sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += q[i];
    return static_cast<std::int16_t>(sum);
}

}  // namespace

void quantize_q8_256(const float* x, std::size_t k, ActBlock* out, std::size_t stride) {
    for (std::size_t b = 0; b < k / kActBlock; ++b, out += stride) {
        out->k.d = quantize(x + b * kActBlock, kActBlock, out->q);
        for (std::size_t i = 0; i < 8; ++i) out->k.sum32[i] = sum_of(out->q + i * 32, 32);
        for (std::size_t i = 0; i < 16; ++i) out->k.sum16[i] = sum_of(out->q + i * 16, 16);
    }
}

void quantize_q8_32(const float* x, std::size_t k, ActBlock* out, std::size_t stride) {
    for (std::size_t begin = 0; begin < k; begin += kActBlock, out += stride) {
        std::memset(out, 0, sizeof *out);
        const std::size_t parts = (k - begin < kActBlock ? k - begin : kActBlock) / 32;
        for (std::size_t i = 0; i < parts; ++i) {
            out->b.d[i] = quantize(x + begin + i * 32, 32, out->q + i * 32);
            out->b.sum[i] = sum_of(out->q + i * 32, 32);
        }
    }
}

}  // namespace tern::kernels::ref
