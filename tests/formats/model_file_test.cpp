#include <gtest/gtest.h>

#include <tern/gguf.h>

#include "format_list.h"
#include "support/reference_data.h"

namespace tern::kernels {
namespace {

// Files of one small model in each format, and one tensor of each decoded by an independent implementation.
class ReferenceFile : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, ReferenceFile,
                         testing::Values("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K",
                                         "Q3_K_S", "Q4_K_S", "Q5_K_S", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S",
                                         "TQ1_0", "TQ2_0", "MXFP4"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(ReferenceFile, DecodesToTheGivenBits) {
    const std::string name = GetParam();
    TERN_REFERENCE(path, "quants");
    const auto file = gguf::File::open(path / (name + ".gguf"));
    const gguf::Tensor& tensor = file.get_tensor("blk.0.ffn_up.weight");
    std::string dtype = name;
    if (dtype.ends_with("_S") && dtype.starts_with("Q")) dtype.resize(dtype.size() - 2);
    EXPECT_EQ(to_string(tensor.dtype), dtype);
    const auto want = test::read_array<float>(path / (name + ".ffn_up.f32"));
    ASSERT_EQ(want.size(), tensor.elements());
    std::vector<float> got(want.size());
    format_ops(tensor.dtype).decode(tensor.data, got.data(), got.size());
    for (std::size_t k = 0; k < want.size(); ++k) ASSERT_EQ(test::bits(got[k]), test::bits(want[k])) << k;
}

}  // namespace
}  // namespace tern::kernels
