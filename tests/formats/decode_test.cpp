#include <gtest/gtest.h>

#include <map>

#include "format_list.h"
#include "support/reference_data.h"

namespace tern::kernels {
namespace {

using test::Format;
using test::same;

std::vector<float> decode(const Format& f, const void* blocks, std::size_t n) {
    std::vector<float> out(n);
    format_ops(f.dtype).decode(blocks, out.data(), n);
    return out;
}

std::vector<Format> quantised() {
    std::vector<Format> out;
    for (const Format& f : test::kFormats)
        if (f.block != 1) out.push_back(f);
    return out;
}

class Decode : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, Decode, testing::ValuesIn(test::kFormats),
                         [](const auto& param) { return std::string(param.param.name); });

TEST_P(Decode, OpsAreComplete) {
    const Format& f = GetParam();
    const FormatOps& ops = format_ops(f.dtype);
    EXPECT_EQ(ops.dtype, f.dtype);
    EXPECT_NE(ops.decode, nullptr);
    EXPECT_EQ(ops.quantised, f.block != 1);
    EXPECT_EQ(ops.unpack != nullptr, ops.quantised);
}

// The definition in format.h, word for word, on every kind of bytes: scales of NaN, infinity and zero are
// among them.
class Unpack : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, Unpack, testing::ValuesIn(quantised()),
                         [](const auto& param) { return std::string(param.param.name); });

TEST_P(Unpack, DecodeIsTheDefinitionOnItsIntegers) {
    const Format& f = GetParam();
    const FormatOps& ops = format_ops(f.dtype);
    constexpr std::size_t kBlocks = 500;
    const auto bytes = test::random_bytes(99, kBlocks * f.bytes);
    const auto values = decode(f, bytes.data(), kBlocks * f.block);
    bool used_min = false;
    for (std::size_t i = 0; i < kBlocks; ++i) {
        UnpackedBlock u;
        std::memset(static_cast<void*>(&u), 0xa5, sizeof u);  // whatever unpack leaves out shows
        ops.unpack(bytes.data() + i * f.bytes, u);
        for (std::size_t k = 0; k < f.block; ++k) {
            const float scale = u.d * static_cast<float>(u.scale[k / 16]);
            const float min = u.dmin * static_cast<float>(u.min[k / 16]);
            const float want = std::fma(scale, static_cast<float>(u.q[k]), -min);
            ASSERT_TRUE(same(values[i * f.block + k], want)) << i << " " << k;
            used_min |= u.min[k / 16] != 0;
        }
        if (!ops.has_min) {
            EXPECT_EQ(test::bits(u.dmin), 0u);
        }
    }
    EXPECT_EQ(used_min, ops.has_min);
}

TEST_P(Decode, AcceptsEmptyAndUnalignedInput) {
    const Format& f = GetParam();
    format_ops(f.dtype).decode(nullptr, nullptr, 0);
    const auto bytes = test::random_bytes(5, 3 * f.bytes + 1);
    const std::vector<unsigned char> aligned(bytes.begin() + 1, bytes.end());
    const auto a = decode(f, bytes.data() + 1, 3 * f.block);
    const auto b = decode(f, aligned.data(), 3 * f.block);
    for (std::size_t k = 0; k < a.size(); ++k) ASSERT_TRUE(same(a[k], b[k])) << k;
}

// Blocks and their values, by llama.cpp (commit 3f545be): dequantize_row of each type on random blocks.
TEST_P(Decode, EqualsGoldenBlocks) {
    const Format& f = GetParam();
    const auto path =
        std::filesystem::path(TERN_SOURCE_DIR) / "tests/data/formats" / (std::string(f.name) + ".bin");
    const std::string file = test::read_file(path);
    const std::size_t per_block = f.bytes + f.block * sizeof(float);
    ASSERT_FALSE(file.empty()) << path;
    ASSERT_EQ(file.size() % per_block, 0u);
    const std::size_t blocks = file.size() / per_block;
    std::vector<float> want(blocks * f.block);
    std::memcpy(want.data(), file.data() + blocks * f.bytes, want.size() * sizeof(float));
    const auto got = decode(f, file.data(), want.size());
    for (std::size_t k = 0; k < want.size(); ++k) ASSERT_EQ(test::bits(got[k]), test::bits(want[k])) << k;
}

// Hashes of what the same oracle gives for 4096 blocks of random bytes, which reach every entry of every
// codebook. FNV-1a over the words of the values; any NaN counts as 7fc00000. Seed: the GGUF type id.
const std::map<std::string, std::uint64_t> kHashes = {
    {"F32", 0xd5c16a66a5ae7629u},     {"F16", 0x3548660177de0325u},     {"Q4_0", 0x99bfee33d4578725u},
    {"Q4_1", 0xa5e73fe84cca8594u},    {"Q5_0", 0x001a9098e6be9325u},    {"Q5_1", 0xd7ce45753e9961cbu},
    {"Q8_0", 0xa9c1f0a1bd6e99e5u},    {"Q2_K", 0xe55ac2989f093537u},    {"Q3_K", 0xcbd710024a56a965u},
    {"Q4_K", 0xab78781ec23dfbd2u},    {"Q5_K", 0x94d9e6197e6135b5u},    {"Q6_K", 0xe32baf7201ae2c87u},
    {"Q8_K", 0xdddde1d1d6c5d70cu},    {"IQ2_XXS", 0x33edf1a6321e8149u}, {"IQ2_XS", 0x95313136d9a0c77du},
    {"IQ3_XXS", 0x3f557d5793f073cdu}, {"IQ1_S", 0x7360989ee55cd0e5u},   {"IQ4_NL", 0xefee8fe2d7e05b25u},
    {"IQ3_S", 0x1347927d8533f0b5u},   {"IQ2_S", 0xba7b7d9dab133741u},   {"IQ4_XS", 0x4f887384e663c4a1u},
    {"IQ1_M", 0xcff6d63af95f7c45u},   {"BF16", 0x481e0f9a6d456325u},    {"TQ1_0", 0x3bcd64e4407a0325u},
    {"TQ2_0", 0x8c196ab471046325u},   {"MXFP4", 0xcad904c25e4a2325u},
};

TEST_P(Decode, EqualsHashOfManyBlocks) {
    const Format& f = GetParam();
    constexpr std::size_t kBlocks = 4096;
    auto bytes = test::random_bytes(static_cast<std::uint64_t>(f.dtype), kBlocks * f.bytes);
    if (f.dtype == DType::MXFP4) {
        // The oracle takes the NaN scale for 2^128.
        for (std::size_t i = 0; i < kBlocks; ++i)
            if (bytes[i * f.bytes] == 255) bytes[i * f.bytes] = 254;
    }
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const float value : decode(f, bytes.data(), kBlocks * f.block))
        hash = (hash ^ (std::isnan(value) ? 0x7fc00000u : test::bits(value))) * 0x100000001b3u;
    ASSERT_TRUE(kHashes.contains(f.name));
    EXPECT_EQ(hash, kHashes.at(f.name));
}

TEST(DecodeMxfp4, TheNaNScaleGivesNaN) {
    unsigned char block[17] = {255};
    float out[32];
    format_ops(DType::MXFP4).decode(block, out, 32);
    for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace tern::kernels
