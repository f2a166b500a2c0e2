// What tern bench counts as read and computed.
#include "bench/cost.h"

#include <gtest/gtest.h>

namespace tern::bench {
namespace {

ModelInfo dense() {
    ModelInfo m;
    m.layers = 2;
    m.width = 10;
    m.kv_heads = 3;
    m.k_dim = m.v_dim = 4;
    m.vocab_size = 100;
    m.token_bytes = 5000;
    m.token_flops = 9000;
    return m;
}

TEST(Cost, AStepReadsTheWeightsOnceAndTheCacheOfEverySequence) {
    const Cost one = step_cost(dense(), 1, 1, 7, KvType::f16);
    EXPECT_EQ(one.bytes, 5000 + 7 * 2 * 3 * 8 * 2);
    EXPECT_EQ(one.operations, 9000);
    const Cost many = step_cost(dense(), 8, 8, 56, KvType::f32);
    EXPECT_EQ(many.bytes, 5000 + 56 * 2 * 3 * 8 * 4);
    EXPECT_EQ(many.operations, 8 * 9000);
}

TEST(Cost, APromptHasScoresOfItsLastTokenOnly) {
    const Cost cost = prompt_cost(dense(), 30, 2, 16, KvType::f16);  // 60 tokens: 16, 16, 16, 12
    EXPECT_EQ(cost.bytes, 4 * 5000);
    EXPECT_EQ(cost.operations, 60 * 9000 - 58 * 2 * 100 * 10);
}

TEST(Cost, ManyTokensReadAllExperts) {
    ModelInfo m = dense();
    m.experts = 8;
    m.experts_used = 2;
    m.expert_bytes = 8000;  // of which a token's 5000 bytes hold 2000
    EXPECT_EQ(step_cost(m, 1, 1, 0, KvType::f16).bytes, 5000);
    // Two tokens: every expert is needed with the probability 1 - (6/8)^2.
    EXPECT_NEAR(step_cost(m, 2, 2, 0, KvType::f16).bytes, 3000 + 8000 * (1 - 0.5625), 1e-9);
    EXPECT_NEAR(step_cost(m, 500, 1, 0, KvType::f16).bytes, 11000, 1e-6);
}

}  // namespace
}  // namespace tern::bench
