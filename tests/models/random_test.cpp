// Models of random weights, as benchmarks use them.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <cmath>
#include <map>

#include "models/model_impl.h"

namespace tern {
namespace {

using models::plan_random;
using models::RandomPlan;

const char* const kShapes[] = {"llama-3.2-1b", "llama-3.1-8b", "tiny-110m", "stories260k", "moe-32x"};

struct Total {
    std::uint64_t tensors = 0, bytes = 0;
    bool operator==(const Total&) const = default;
};
std::map<DType, Total> totals(const RandomPlan& plan) {
    std::map<DType, Total> out;
    for (const RandomPlan::Tensor& t : plan.tensors) {
        ++out[t.dtype].tensors;
        out[t.dtype].bytes += t.bytes();
    }
    return out;
}

// The counts and bytes of a file that another program made of the same shape and mixture.
TEST(RandomModels, AreAsLargeAsFilesOfTheirShape) {
    const std::map<DType, Total> expected{
        {DType::F32, {33, 270336}}, {DType::Q4_K, {96, 467140608}}, {DType::Q6_K, {17, 332451840}}};
    EXPECT_EQ(totals(plan_random({.shape = "llama-3.2-1b", .format = "Q4_K_M"})), expected);
}

TEST(RandomModels, EveryShapeInEveryFormatHasRowsOfWholeBlocks) {
    std::vector<std::string> formats{"Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "MXFP4_MOE"};
    for (const DTypeInfo& i : all_dtypes())
        if (i.dtype != DType::Q8_K) formats.emplace_back(i.name);
    for (const char* shape : kShapes)
        for (const std::string& format : formats)
            for (const RandomPlan::Tensor& t : plan_random({.shape = shape, .format = format}).tensors)
                EXPECT_EQ(t.shape[0] % info(t.dtype).block, 0u) << shape << " " << format << " " << t.name;
    EXPECT_THROW(plan_random({.shape = "tiny-110m", .format = "Q8_K"}), Error);
    EXPECT_THROW(plan_random({.shape = "tiny-110m", .format = "q4_0"}), Error);
}

TEST(RandomModels, PureFormatsAreOfThatFormatWhereItFits) {
    const std::map<DType, Total> pure = totals(plan_random({.shape = "llama-3.2-1b", .format = "Q8_0"}));
    EXPECT_EQ(pure.size(), 2u);
    EXPECT_EQ(pure.at(DType::Q8_0).tensors, 113u);
    // Rows of 2,880 hold no whole blocks of 256; those of 4,096 (attention_output) do.
    const std::map<DType, Total> mixed = totals(plan_random({.shape = "moe-32x", .format = "Q4_K"}));
    EXPECT_EQ(mixed.at(DType::Q4_K).tensors, 4u);
    EXPECT_EQ(mixed.at(DType::Q5_0).tensors, 2u + 4 * 6);
}

TEST(RandomModels, OfExpertsKnowWhatATokenReads) {
    const RandomPlan plan = plan_random({.shape = "moe-32x", .format = "MXFP4_MOE"});
    std::uint64_t experts = 0;
    for (const RandomPlan::Tensor& t : plan.tensors)
        if (t.shape[2] == 32) {
            EXPECT_EQ(t.dtype, DType::MXFP4);
            experts += t.bytes();
        }
    EXPECT_EQ(experts, 4u * 3 * 32 * 2880 * (2880 / 32 * 17));
}

TEST(RandomModels, GiveFiniteScores) {
    const Runtime runtime({.threads = 1});
    const std::vector<TokenId> tokens{1, 2, 3, 400};
    for (const DTypeInfo& i : all_dtypes()) {
        // Blocks of 256 need the wider shape, which takes long: one format of several scales, and one of a scale in pieces.
        if (i.block > 32 && i.dtype != DType::Q4_K && i.dtype != DType::IQ1_M) continue;
        const char* shape = i.block > 32 ? "tiny-110m" : "stories260k";
        Session session(Model::random(runtime, {.shape = shape, .format = i.name}), {.context = 8});
        double sum = 0;
        for (const float x : session.eval(tokens)) sum += std::abs(static_cast<double>(x));
        EXPECT_TRUE(std::isfinite(sum) && sum > 0) << i.name << " " << sum;
    }
}

}  // namespace
}  // namespace tern
