#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "format_list.h"
#include "kernels/formats/half.h"
#include "kernels/formats/q4_0.h"
#include "kernels/formats/q8_0.h"

namespace tern::kernels {
namespace {

using test::Format;

std::vector<Format> encodable() {
    std::vector<Format> out;
    for (const Format& f : test::kFormats)
        if (format_ops(f.dtype).encode != nullptr) out.push_back(f);
    return out;
}

const Format& format(DType dtype) {
    return *std::find_if(std::begin(test::kFormats), std::end(test::kFormats),
                         [&](const Format& f) { return f.dtype == dtype; });
}

std::vector<unsigned char> encode(const Format& f, const std::vector<float>& x,
                                  const float* importance = nullptr) {
    std::vector<unsigned char> blocks(x.size() / f.block * f.bytes);
    format_ops(f.dtype).encode(x.data(), importance, blocks.data(), x.size());
    return blocks;
}

std::vector<float> decode(const Format& f, const std::vector<unsigned char>& blocks) {
    std::vector<float> out(blocks.size() / f.bytes * f.block);
    format_ops(f.dtype).decode(blocks.data(), out.data(), out.size());
    return out;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& x, const float* importance = nullptr) {
    return decode(format(dtype), encode(format(dtype), x, importance));
}

std::vector<float> gaussian(std::uint64_t seed, std::size_t n, float sigma = 0.02f) {
    test::Random random(seed);
    std::vector<float> x(n);
    for (float& v : x) v = sigma * random.gaussian();
    return x;
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y, std::size_t begin,
                     std::size_t end, const float* w = nullptr) {
    double sum = 0.0;
    for (std::size_t i = begin; i < end; ++i) {
        const double e = static_cast<double>(x[i]) - static_cast<double>(y[i]);
        sum += (w == nullptr ? 1.0 : static_cast<double>(w[i])) * e * e;
    }
    return sum;
}

double relative_rmse(const std::vector<float>& x, const std::vector<float>& y) {
    const std::vector<float> zero(x.size());
    return std::sqrt(squared_error(x, y, 0, x.size()) / squared_error(x, zero, 0, x.size()));
}

// What an encoder may meet. 256 elements each.
struct Input {
    const char* name;
    std::vector<float> x;
};
std::vector<Input> hostile_inputs() {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    constexpr float kMax = std::numeric_limits<float>::max();
    constexpr float kTiny = std::numeric_limits<float>::denorm_min();
    std::vector<Input> inputs;
    const auto add = [&](const char* name, auto&& value) {
        std::vector<float> x(256);
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = value(i);
        inputs.push_back({name, x});
    };
    test::Random random(3);
    add("zero", [](std::size_t) { return 0.0f; });
    add("negative zero", [](std::size_t) { return -0.0f; });
    add("one", [](std::size_t) { return 1.0f; });
    add("minus one", [](std::size_t) { return -1.0f; });
    add("one spike", [](std::size_t i) { return i == 77 ? -3.0f : 0.0f; });
    add("one spike in noise", [&](std::size_t i) { return i == 200 ? 1e4f : random.gaussian(); });
    add("all positive", [&](std::size_t) { return 1.0f + static_cast<float>(random.uniform()); });
    add("all negative", [&](std::size_t) { return -1.0f - static_cast<float>(random.uniform()); });
    add("largest", [](std::size_t i) { return i % 2 == 0 ? kMax : -kMax; });
    add("large", [&](std::size_t) { return 1e30f * random.gaussian(); });
    add("smallest", [](std::size_t i) { return i % 3 == 0 ? kTiny : -kTiny; });
    add("f32 subnormals", [&](std::size_t) { return 1e-39f * random.gaussian(); });
    add("about the smallest f16", [&](std::size_t) { return 0x1p-24f * random.gaussian(); });
    add("f16 subnormal scales", [&](std::size_t) { return 1e-5f * random.gaussian(); });
    add("wide range", [&](std::size_t) {
        return std::ldexp(random.gaussian(), static_cast<int>(random.next() % 254) - 127);
    });
    add("infinity", [&](std::size_t i) {
        return i % 7 == 0 ? kInf : i % 11 == 0 ? -kInf : random.gaussian();
    });
    add("NaN", [&](std::size_t i) { return i % 5 == 0 ? NAN : random.gaussian(); });
    add("nothing but NaN", [](std::size_t) { return NAN; });
    return inputs;
}

class Encode : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, Encode, testing::ValuesIn(encodable()),
                         [](const auto& param) { return std::string(param.param.name); });

TEST(EncodeList, HoldsTheFormatsOfTheContract) {
    for (const DType dtype :
         {DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K})
        EXPECT_NE(format_ops(dtype).encode, nullptr) << format(dtype).name;
}

TEST_P(Encode, EmptyInputWritesNothing) {
    format_ops(GetParam().dtype).encode(nullptr, nullptr, nullptr, 0);
}

TEST_P(Encode, WritesExactlyItsBlocksWhereverTheyLie) {
    const Format& f = GetParam();
    const auto x = gaussian(1, 3 * 256);
    const auto want = encode(f, x);
    std::vector<unsigned char> buffer(want.size() + 9, 0xee);
    format_ops(f.dtype).encode(x.data(), nullptr, buffer.data() + 1, x.size());
    EXPECT_EQ(buffer.front(), 0xee);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), buffer.begin() + 1));
    EXPECT_TRUE(std::all_of(buffer.end() - 8, buffer.end(), [](unsigned char c) { return c == 0xee; }));
}

TEST_P(Encode, ZeroIsExact) {
    for (const float zero : {0.0f, -0.0f})
        for (const float y : round_trip(GetParam().dtype, std::vector<float>(512, zero))) EXPECT_EQ(y, 0.0f);
}

// Quantised blocks never hold a scale that is not finite, so every value read back is finite; and no error is
// larger than the input itself by more than the largest magnitude of its block.
TEST_P(Encode, HostileInputGivesFiniteBlocks) {
    const Format& f = GetParam();
    for (const Input& input : hostile_inputs()) {
        std::vector<float> clean = input.x;
        for (float& v : clean) v = std::isfinite(v) ? v : 0.0f;
        EXPECT_EQ(encode(f, input.x), encode(f, clean)) << input.name;
        const auto y = round_trip(f.dtype, input.x);
        if (f.dtype == DType::F16 || f.dtype == DType::BF16)
            continue;  // overflow to infinity is their rounding
        float amax = 0.0f;
        for (const float v : clean) amax = std::max(amax, std::fabs(v));
        const double slack = std::max(1.01 * static_cast<double>(amax), 0x1p-24);
        for (std::size_t i = 0; i < y.size(); ++i) {
            ASSERT_TRUE(std::isfinite(y[i])) << input.name << " " << i;
            ASSERT_LE(std::fabs(static_cast<double>(y[i]) - static_cast<double>(clean[i])), slack)
                << input.name << " " << i;
        }
    }
}

TEST_P(Encode, HostileImportanceIsHarmless) {
    const Format& f = GetParam();
    const auto x = gaussian(4, 256);
    for (const float bad : {0.0f, -1.0f, NAN, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()}) {
        std::vector<float> importance(256, 1.0f);
        for (std::size_t i = 0; i < 256; i += 3) importance[i] = bad;
        for (const float y : round_trip(f.dtype, x, importance.data())) ASSERT_TRUE(std::isfinite(y)) << bad;
        importance.assign(256, bad);
        const auto y = round_trip(f.dtype, x, importance.data());
        EXPECT_LT(relative_rmse(x, y), 0.15) << bad;  // as without: no weight is better than another
    }
}

// Symmetric input must not be biased: the mean error stays within four standard errors of the mean.
TEST_P(Encode, ErrorsAreUnbiased) {
    const auto x = gaussian(8, 256 * 400);
    const auto y = round_trip(GetParam().dtype, x);
    double sum = 0.0, squares = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double e = static_cast<double>(y[i]) - static_cast<double>(x[i]);
        sum += e;
        squares += e * e;
    }
    EXPECT_LE(std::fabs(sum), 4.0 * std::sqrt(squares));
}

TEST(EncodeFloat, F32IsExact) {
    const auto x = gaussian(2, 1000);
    EXPECT_EQ(round_trip(DType::F32, x), x);
    const std::vector<float> edge = {std::numeric_limits<float>::max(),
                                     std::numeric_limits<float>::denorm_min()};
    EXPECT_EQ(round_trip(DType::F32, edge), edge);
}

TEST(EncodeFloat, HalvesRoundToNearest) {
    const auto x = gaussian(2, 100000, 1.0f);
    const auto f16 = round_trip(DType::F16, x);
    const auto bf16 = round_trip(DType::BF16, x);
    for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_EQ(f16[i], f16_to_f32(f32_to_f16(x[i])));
        ASSERT_LE(std::fabs(f16[i] - x[i]), std::max(std::fabs(x[i]) * 0x1p-11f, 0x1p-25f));
        ASSERT_LE(std::fabs(bf16[i] - x[i]), std::fabs(x[i]) * 0x1p-8f);
    }
    EXPECT_EQ(round_trip(DType::F16, {65520.0f, -1e30f, 65519.0f}),
              (std::vector<float>{INFINITY, -INFINITY, 65504.0f}));
    EXPECT_EQ(round_trip(DType::F16, {0x1p-24f, 0x1p-25f, 0x1.8p-25f}),
              (std::vector<float>{0x1p-24f, 0.0f, 0x1p-24f}));
    EXPECT_EQ(round_trip(DType::BF16, {std::numeric_limits<float>::max()}), std::vector<float>{INFINITY});
}

TEST(EncodeFloat, StoredHalvesAreUnchanged) {
    for (const DType dtype : {DType::F16, DType::BF16}) {
        const Format& f = format(dtype);
        std::vector<unsigned char> blocks;
        for (unsigned h = 0; h < 65536; ++h) {
            const unsigned exponents = dtype == DType::F16 ? 0x7c00u : 0x7f80u;
            if ((h & exponents) == exponents) continue;
            blocks.push_back(static_cast<unsigned char>(h & 255u));
            blocks.push_back(static_cast<unsigned char>(h >> 8));
        }
        EXPECT_EQ(encode(f, decode(f, blocks)), blocks) << f.name;
    }
}

// The stored scale is the f16 nearest to the rule's, and every element takes the level nearest to it, found
// by trying all of them.
template <class Block>
void expect_nearest_levels(DType dtype, const std::vector<float>& x, int lowest, int highest,
                           auto&& ideal_scale) {
    const Format& f = format(dtype);
    const auto blocks = encode(f, x);
    const auto y = decode(f, blocks);
    for (std::size_t i = 0; i < x.size(); i += 32) {
        Block b;
        std::memcpy(&b, blocks.data() + i / 32 * sizeof b, sizeof b);
        const double ideal = ideal_scale(&x[i]);
        const double d = static_cast<double>(f16_to_f32(b.d));
        ASSERT_LE(std::fabs(d - ideal), std::max(std::fabs(ideal) * 0x1.001p-11, 0x1p-24)) << i;
        if (std::fabs(ideal) >= 0x1p-14) {
            ASSERT_EQ(b.d, f32_to_f16(static_cast<float>(ideal))) << i;
        }
        for (std::size_t k = i; k < i + 32; ++k) {
            double best = INFINITY;
            for (int q = lowest; q <= highest; ++q)
                best = std::min(best, std::fabs(static_cast<double>(x[k]) - d * q));
            ASSERT_LE(std::fabs(static_cast<double>(x[k]) - static_cast<double>(y[k])),
                      best + 1e-6 * std::fabs(d) + 1e-45)
                << k;
        }
    }
}

// Gaussian blocks of standard deviation 2^lowest to 2^14. From 2^-22 on they reach f16's subnormal scales.
std::vector<float> scaled_blocks(std::uint64_t seed, int lowest = -22) {
    std::vector<float> x;
    for (int e = lowest; e <= 14; ++e) {
        const auto part = gaussian(seed + static_cast<std::uint64_t>(e + 50), 32 * 20, std::ldexp(1.0f, e));
        x.insert(x.end(), part.begin(), part.end());
    }
    return x;
}

TEST(EncodeQ8_0, ScaleAndLevelsAreNearest) {
    expect_nearest_levels<BlockQ8_0>(DType::Q8_0, scaled_blocks(1), -127, 127, [](const float* x) {
        double amax = 0.0;
        for (int k = 0; k < 32; ++k) amax = std::max(amax, std::fabs(static_cast<double>(x[k])));
        return amax / 127.0;
    });
}

TEST(EncodeQ4_0, ScaleAndLevelsAreNearest) {
    expect_nearest_levels<BlockQ4_0>(DType::Q4_0, scaled_blocks(2), -8, 7, [](const float* x) {
        double extreme = 0.0;
        for (int k = 0; k < 32; ++k)
            if (std::fabs(static_cast<double>(x[k])) > std::fabs(extreme))
                extreme = static_cast<double>(x[k]);
        return extreme / -8.0;
    });
}

// Where the scale is a normal f16: the extreme comes back as exactly its level. A subnormal scale is too
// coarse for it.
TEST(EncodeQ8_0, StoredBlocksAreUnchanged) {
    const Format& f = format(DType::Q8_0);
    const auto blocks = encode(f, scaled_blocks(5, -6));
    EXPECT_EQ(encode(f, decode(f, blocks)), blocks);
}

TEST(EncodeQ4_0, StoredBlocksAreUnchanged) {
    const Format& f = format(DType::Q4_0);
    const auto blocks = encode(f, scaled_blocks(6, -6));
    EXPECT_EQ(encode(f, decode(f, blocks)), blocks);
}

// The plain method, without any search, in double: sub-block ranges, scales rounded up so that nothing is
// clipped. Returns the block's squared error and, through `bound`, the largest error that the method can make
// by its steps.
double plain_q4_k(const float* x, double& bound) {
    double s[8], m[8], smax = 0.0, mmax = 0.0;
    for (int i = 0; i < 8; ++i) {
        double lo = 0.0, hi = -INFINITY;
        for (int k = 0; k < 32; ++k) {
            lo = std::min(lo, static_cast<double>(x[32 * i + k]));
            hi = std::max(hi, static_cast<double>(x[32 * i + k]));
        }
        m[i] = -lo;
        s[i] = (std::max(hi, lo) - lo) / 15.0;
        smax = std::max(smax, s[i]);
        mmax = std::max(mmax, m[i]);
    }
    const double d = smax / 63.0, dmin = mmax / 63.0;
    double sum = 0.0;
    bound = 0.0;
    for (int i = 0; i < 8; ++i) {
        const double scale = d * (d > 0.0 ? std::ceil(s[i] / d * (1 - 1e-12)) : 0.0);
        const double min = dmin * (dmin > 0.0 ? std::round(m[i] / dmin) : 0.0);
        bound = std::max(bound, (s[i] + d) / 2.0 + dmin / 2.0);
        for (int k = 0; k < 32; ++k) {
            const double v = static_cast<double>(x[32 * i + k]);
            const double q = scale > 0.0 ? std::clamp(std::round((v + min) / scale), 0.0, 15.0) : 0.0;
            const double e = v - (scale * q - min);
            sum += e * e;
        }
    }
    return sum;
}

double plain_q6_k(const float* x, double& bound) {
    double s[16], smax = 0.0;
    for (int i = 0; i < 16; ++i) {
        s[i] = 0.0;
        for (int k = 0; k < 16; ++k)
            s[i] = std::max(s[i], std::fabs(static_cast<double>(x[16 * i + k])) / 31.0);
        smax = std::max(smax, s[i]);
    }
    const double d = smax / 127.0;
    double sum = 0.0;
    bound = 0.0;
    for (int i = 0; i < 16; ++i) {
        const double scale = d * (d > 0.0 ? std::ceil(s[i] / d * (1 - 1e-12)) : 0.0);
        bound = std::max(bound, (s[i] + d) / 2.0);
        for (int k = 0; k < 16; ++k) {
            const double v = static_cast<double>(x[16 * i + k]);
            const double q = scale > 0.0 ? std::clamp(std::round(v / scale), -32.0, 31.0) : 0.0;
            sum += (v - scale * q) * (v - scale * q);
        }
    }
    return sum;
}

void expect_better_than_plain(DType dtype, double (*plain)(const float*, double&)) {
    test::Random random(12);
    for (int kind = 0; kind < 6; ++kind) {
        std::vector<float> x(256 * 60);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const float g = random.gaussian();
            const auto u = static_cast<float>(random.uniform());
            x[i] = kind == 0   ? g
                   : kind == 1 ? 2.0f * u - 1.0f
                   : kind == 2 ? g * std::exp(random.gaussian())       // heavy tails
                   : kind == 3 ? g * (i / 32 % 8 == 3 ? 20.0f : 0.1f)  // one loud sub-block
                   : kind == 4 ? 3.0f + 0.1f * g                       // one-sided
                               : 0.01f * std::round(4.0f * g);         // few values
        }
        const auto y = round_trip(dtype, x);
        double total = 0.0, plain_total = 0.0;
        for (std::size_t i = 0; i < x.size(); i += 256) {
            double bound = 0.0;
            const double plain_error = plain(&x[i], bound);
            const double error = squared_error(x, y, i, i + 256);
            // The bound is derived, with room for the f16 rounding of both scales.
            ASSERT_LE(std::sqrt(error / 256.0), bound * 1.01) << "kind " << kind << " block " << i / 256;
            ASSERT_LE(error, plain_error * 1.02 + 1e-12) << "kind " << kind << " block " << i / 256;
            total += error;
            plain_total += plain_error;
        }
        EXPECT_LE(total, plain_total) << "kind " << kind;
    }
}

TEST(EncodeQ4_K, SearchBeatsThePlainMethod) {
    expect_better_than_plain(DType::Q4_K, plain_q4_k);
}
TEST(EncodeQ6_K, SearchBeatsThePlainMethod) {
    expect_better_than_plain(DType::Q6_K, plain_q6_k);
}

// On gaussian data llama.cpp (commit 3f545be, no importance) has 0.0714 and 0.0178; these are Tern's figures
// plus 0.5 %.
TEST(EncodeQ4_K, GaussianError) {
    const auto x = gaussian(21, 256 * 500);
    EXPECT_LT(relative_rmse(x, round_trip(DType::Q4_K, x)), 0.0703);
}
TEST(EncodeQ6_K, GaussianError) {
    const auto x = gaussian(22, 256 * 500);
    EXPECT_LT(relative_rmse(x, round_trip(DType::Q6_K, x)), 0.0171);
}

class EncodeWeighted : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Formats, EncodeWeighted, testing::Values(DType::Q4_0, DType::Q4_K, DType::Q6_K),
                         [](const auto& param) { return std::string(format(param.param).name); });

TEST_P(EncodeWeighted, ImportanceLowersTheWeightedError) {
    const Format& f = format(GetParam());
    const auto x = gaussian(31, 256 * 100);
    test::Random random(32);
    std::vector<float> importance(x.size());
    for (float& w : importance) w = std::exp(1.5f * random.gaussian());
    const auto weighted = round_trip(f.dtype, x, importance.data());
    const auto plain = round_trip(f.dtype, x);
    EXPECT_LT(squared_error(x, weighted, 0, x.size(), importance.data()),
              0.97 * squared_error(x, plain, 0, x.size(), importance.data()));
    // A common factor changes nothing.
    std::vector<float> scaled = importance;
    for (float& w : scaled) w *= 1024.0f;
    EXPECT_EQ(encode(f, x, importance.data()), encode(f, x, scaled.data()));
}

TEST_P(Encode, PowersOfTwoOnlyMoveTheScale) {
    const Format& f = GetParam();
    auto x = gaussian(41, 256 * 10, 1.0f);
    for (float& v : x) v += std::copysign(0x1p-10f, v);  // F16 keeps its full precision
    std::vector<float> large = x;
    for (float& v : large) v *= 256.0f;
    const auto a = round_trip(f.dtype, x);
    const auto b = round_trip(f.dtype, large);
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i] * 256.0f, b[i]) << i;
}

}  // namespace
}  // namespace tern::kernels
