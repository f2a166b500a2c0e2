#include "models/scan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/formats/format.h"

namespace tern::models {
namespace {

// Where a format keeps its f16 scales. What is not here is decoded.
struct Scales {
    std::size_t count = 0;
    std::size_t at[2] = {0, 0};
};

constexpr std::uint32_t kF16 = 0x7C00, kBF16 = 0x7F80, kF32 = 0x7F800000;  // the exponents, all ones if not finite

Scales scales_of(DType dtype) noexcept {
    switch (dtype) {
        case DType::Q4_0:
        case DType::Q5_0:
        case DType::Q8_0:
        case DType::IQ2_XXS:
        case DType::IQ2_XS:
        case DType::IQ2_S:
        case DType::IQ3_XXS:
        case DType::IQ3_S:
        case DType::IQ1_S:
        case DType::IQ4_NL:
        case DType::IQ4_XS:
            return {1, {0, 0}};
        case DType::Q4_1:
        case DType::Q5_1:
        case DType::Q4_K:
        case DType::Q5_K:
            return {2, {0, 2}};
        case DType::Q2_K:
            return {2, {80, 82}};
        case DType::Q3_K:
            return {1, {108, 0}};
        case DType::Q6_K:
            return {1, {208, 0}};
        case DType::TQ1_0:
            return {1, {52, 0}};
        case DType::TQ2_0:
            return {1, {64, 0}};
        default:
            return {};
    }
}

template <class Word>
Word load(const std::byte* at) noexcept {
    Word word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

// Without a branch per element, so that it runs as fast as memory gives the words; the place is looked for only if
// there is one.
template <class Word>
Scan scan_floats(std::span<const std::byte> data, std::uint32_t exponent) noexcept {
    constexpr std::size_t kPiece = 4096;
    Scan scan;
    const std::size_t n = data.size() / sizeof(Word);
    const auto mask = static_cast<Word>(exponent);
    for (std::size_t begin = 0; begin < n; begin += kPiece) {
        const std::size_t end = std::min(n, begin + kPiece);
        std::uint32_t bad = 0;
        for (std::size_t i = begin; i < end; ++i)
            bad += static_cast<std::uint32_t>((load<Word>(data.data() + i * sizeof(Word)) & mask) == mask);
        if (bad == 0) continue;
        for (std::size_t i = begin; scan.bad == 0 && i < end; ++i)
            if ((load<Word>(data.data() + i * sizeof(Word)) & mask) == mask) {
                scan.first = i;
                break;
            }
        scan.bad += bad;
    }
    return scan;
}

template <class Bad>
Scan scan_each(DType dtype, std::span<const std::byte> data, Bad&& is_bad) noexcept {
    Scan scan;
    const std::size_t bytes = info(dtype).block_bytes, n = data.size() / bytes;
    for (std::size_t i = 0; i < n; ++i) {
        if (!is_bad(data.data() + i * bytes)) continue;
        if (scan.bad++ == 0) scan.first = i;
    }
    return scan;
}

}  // namespace

Scan scan_blocks(DType dtype, std::span<const std::byte> blocks) noexcept {
    const auto f16_bad = [](const std::byte* at) { return (load<std::uint16_t>(at) & kF16) == kF16; };
    if (dtype == DType::F32) return scan_floats<std::uint32_t>(blocks, kF32);
    if (dtype == DType::F16) return scan_floats<std::uint16_t>(blocks, kF16);
    if (dtype == DType::BF16) return scan_floats<std::uint16_t>(blocks, kBF16);
    const kernels::FormatOps& ops = kernels::format_ops(dtype);
    const auto decodes_badly = [&](const std::byte* b) {
        float x[256];
        ops.decode(b, x, info(dtype).block);
        return !std::all_of(x, x + info(dtype).block, [](float v) { return std::isfinite(v); });
    };
    // From 2^126 on an exponent makes infinities of the larger elements, and 255 is NaN.
    if (dtype == DType::MXFP4)
        return scan_each(dtype, blocks, [&](const std::byte* b) { return *b >= std::byte{253} && decodes_badly(b); });
    if (const Scales scales = scales_of(dtype); scales.count == 1)
        return scan_each(dtype, blocks, [&](const std::byte* b) { return f16_bad(b + scales.at[0]); });
    else if (scales.count == 2)
        return scan_each(dtype, blocks,
                         [&](const std::byte* b) { return f16_bad(b + scales.at[0]) || f16_bad(b + scales.at[1]); });
    return scan_each(dtype, blocks, decodes_badly);
}

}  // namespace tern::models
