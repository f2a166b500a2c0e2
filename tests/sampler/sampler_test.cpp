#include <tern/sampler.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include <tern/error.h>

#include "kernels/registry.h"
#include "reference.h"
#include "support/sanitizer.h"

namespace tern {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kMax = std::numeric_limits<float>::max();

// Everything off: the model's own distribution.
SamplerOptions plain() {
    SamplerOptions o;
    o.temperature = 1;
    o.top_k = 0;
    o.top_p = 1;
    o.min_p = 0;
    return o;
}

SamplerOptions greedy() {
    SamplerOptions o = plain();
    o.temperature = 0;
    return o;
}

std::vector<float> random_logits(std::size_t n, std::uint32_t seed, float spread = 3) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> x(n);
    for (float& v : x) v = normal(rng);
    return x;
}

std::vector<TokenId> draws(const SamplerOptions& o, const std::vector<float>& logits, int n,
                           const std::vector<TokenId>& history = {}) {
    Sampler s(o, static_cast<std::uint32_t>(logits.size()));
    s.accept(history);
    std::vector<TokenId> out;
    for (int i = 0; i < n; ++i) out.push_back(s.sample(logits));
    return out;
}

TokenId one(const SamplerOptions& o, const std::vector<float>& logits, const std::vector<TokenId>& history = {}) {
    return draws(o, logits, 1, history)[0];
}

// Chi-square of n draws against the reference's distribution; tokens expected fewer than 8 times are put together.
void expect_distribution(const SamplerOptions& o, const std::vector<float>& logits,
                         const std::vector<TokenId>& history = {}, int n = 20000) {
    const test::Distribution want =
        test::reference_distribution(o, {logits.begin(), logits.end()}, history);
    ASSERT_GT(want.margin, logits.size() < 1000 ? 1e-5 : 1e-8) << "choose other logits: a filter decides too narrowly to compare";
    std::map<TokenId, int> got;
    for (const TokenId id : draws(o, logits, n, history)) ++got[id];
    for (const auto& [id, count] : got) ASSERT_TRUE(want.p.count(id)) << "token " << id << " was taken away";
    long double chi2 = 0, rare = 0;
    int cells = -1, rare_got = 0;
    const auto cell = [&](long double expected, int count) {
        chi2 += (count - expected) * (count - expected) / expected;
        ++cells;
    };
    for (const auto& [id, p] : want.p) {
        const int count = got.count(id) ? got[id] : 0;
        if (p * n >= 8) {
            cell(p * n, count);
        } else {
            rare += p * n;
            rare_got += count;
        }
    }
    if (rare >= 8) cell(rare, rare_got);
    // Wilson and Hilferty's approximation of the 99.99 % quantile.
    if (cells > 0) {
        const long double h = 2.0L / (9 * cells);
        EXPECT_LT(chi2, cells * std::pow(1 - h + 3.719L * std::sqrt(h), 3)) << cells << " degrees of freedom";
    }
}

std::string refusal(const std::function<void()>& f) {
    try {
        f();
    } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
        return e.what();
    }
    return "nothing was refused";
}

TEST(Sampler, GreedyTakesTheGreatestAndTheLowerIdOfEquals) {
    EXPECT_EQ(one(greedy(), {1, 3, 2}), 1);
    EXPECT_EQ(one(greedy(), {1, 3, 3, 3}), 1);
    EXPECT_EQ(one(greedy(), {-5}), 0);
    EXPECT_EQ(one(greedy(), {-kInf, -kMax, -kInf}), 1);
    EXPECT_EQ(one(greedy(), {-0.0f, 0.0f}), 0);
    // The filters do not matter.
    SamplerOptions o = greedy();
    o.top_k = 1;
    o.typical_p = 0.1f;
    EXPECT_EQ(one(o, {1, 1.1f, 1.2f, 1}), 2);
}

TEST(Sampler, FrequenciesFollowTheDefinition) {
    const std::vector<float> x = random_logits(40, 1, 1.5f);
    expect_distribution(plain(), x);
    SamplerOptions o = plain();
    for (const float t : {0.3f, 0.8f, 1.7f, 5.0f}) {
        o.temperature = t;
        expect_distribution(o, x);
    }
    o = plain();
    for (const std::uint32_t k : {1u, 2u, 7u, 39u, 40u, 41u, 4000000000u}) {
        o.top_k = k;
        expect_distribution(o, x);
    }
    o = plain();
    for (const float p : {0.0f, 0.01f, 0.5f, 0.9f, 0.99f}) {
        o.top_p = p;
        expect_distribution(o, x);
    }
    o = plain();
    for (const float p : {0.01f, 0.11f, 0.5f, 0.95f}) {
        o.min_p = p;
        expect_distribution(o, x);
    }
    o = plain();
    for (const float p : {0.0f, 0.2f, 0.5f, 0.95f}) {
        o.typical_p = p;
        expect_distribution(o, x);
    }
    expect_distribution(SamplerOptions{}, x);
}

// All options at once and in many combinations. At a temperature of 1e9 every token left is drawn about equally
// often, which shows the set.
TEST(Sampler, FiltersTogetherLeaveTheSetOfTheDefinition) {
    std::mt19937 rng(5);
    const auto pick = [&](std::initializer_list<float> values) { return *(values.begin() + rng() % values.size()); };
    int compared = 0;
    for (int round = 0; round < 400; ++round) {
        const std::size_t n = 2 + rng() % 30;
        std::vector<float> x = random_logits(n, rng(), pick({0.1f, 1, 4}));
        if (round % 3 == 0) x[rng() % n] = x[rng() % n];  // ties
        if (round % 5 == 0 && n > 2) x[1] = -kInf;
        std::vector<TokenId> history;
        for (std::size_t i = rng() % 20; i > 0; --i) history.push_back(static_cast<TokenId>(rng() % n));
        SamplerOptions o;
        o.temperature = 1e9f;
        o.top_k = rng() % 2 ? static_cast<std::uint32_t>(rng() % 20) : 0;
        o.top_p = pick({1, 1, 0.95f, 0.7f, 0.3f});
        o.min_p = pick({0, 0, 0.05f, 0.3f, 0.8f});
        o.typical_p = pick({1, 1, 0.9f, 0.6f, 0.2f});
        o.repeat_penalty = pick({1, 1.1f, 1.5f, 0.8f});
        o.frequency_penalty = pick({0, 0.5f, -0.25f});
        o.presence_penalty = pick({0, 0.4f, -0.4f});
        o.penalty_last_n = static_cast<std::int32_t>(pick({-1, 0, 1, 5, 64}));
        if (rng() % 2) o.logit_bias = {{0, pick({-2, 3})}, {static_cast<TokenId>(n - 1), -kInf}, {0, 0.5f}};
        const auto want = test::reference_distribution(o, {x.begin(), x.end()}, history);
        if (want.margin < 1e-5) continue;
        ++compared;
        std::set<TokenId> want_set, got;
        for (const auto& [id, p] : want.p) want_set.insert(id);
        for (const TokenId id : draws(o, x, static_cast<int>(want_set.size()) * 20, history)) got.insert(id);
        ASSERT_EQ(got, want_set) << "round " << round;
    }
    EXPECT_GT(compared, 300);
}

TEST(Sampler, EqualProbabilitiesKeepTheLowerIds) {
    const std::vector<float> x(50, 2.5f);
    SamplerOptions o = plain();
    o.top_k = 3;
    for (const TokenId id : draws(o, x, 200)) EXPECT_LT(id, 3);
    o = plain();
    o.top_p = 0.099f;  // five of 0.02
    std::set<TokenId> got;
    for (const TokenId id : draws(o, x, 400)) got.insert(id);
    EXPECT_EQ(got, (std::set<TokenId>{0, 1, 2, 3, 4}));
    o = plain();
    o.typical_p = 0.059f;
    got.clear();
    for (const TokenId id : draws(o, x, 400)) got.insert(id);
    EXPECT_EQ(got, (std::set<TokenId>{0, 1, 2}));
    o = plain();
    o.min_p = 1;
    got.clear();
    for (const TokenId id : draws(o, x, 2000)) got.insert(id);
    EXPECT_EQ(got.size(), 50u);
}

TEST(Sampler, TypicalPrefersTheExpectedSurpriseToTheBest) {
    // Entropy of (0.6, 4 × 0.1) is 1.23 nats: 0.1 surprises by 2.30, 0.6 by 0.51, which is nearer.
    // Of (0.25, 15 × 0.05) it is 2.59: 0.05 surprises by 3.00, 0.25 by 1.39, which is farther.
    SamplerOptions o = plain();
    o.typical_p = 0.01f;
    const auto logs = [](std::initializer_list<float> p) {
        std::vector<float> x;
        for (const float v : p) x.push_back(std::log(v));
        return x;
    };
    EXPECT_EQ(one(o, logs({0.1f, 0.1f, 0.6f, 0.1f, 0.1f})), 2);
    std::vector<float> x(16, std::log(0.05f));
    x[9] = std::log(0.25f);
    EXPECT_EQ(one(o, x), 0);
}

TEST(Sampler, ExtremeTemperatures) {
    const std::vector<float> x = {0.5f, 0.50001f, -3, 0.2f};
    SamplerOptions o = plain();
    for (const float t : {1e-9f, 1e-30f, 1e-45f}) {
        o.temperature = t;
        for (const TokenId id : draws(o, x, 50)) EXPECT_EQ(id, 1) << t;
        // Ties are drawn evenly, never NaN.
        std::set<TokenId> got;
        for (const TokenId id : draws(o, {7, 7, 6.99f}, 100)) got.insert(id);
        EXPECT_EQ(got, (std::set<TokenId>{0, 1})) << t;
    }
    for (const float t : {1e9f, kMax}) {
        o.temperature = t;
        expect_distribution(o, x);
        expect_distribution(o, {100, -100, 3});
    }
}

TEST(Sampler, ExtremeLogits) {
    SamplerOptions o = plain();
    EXPECT_EQ(one(o, {-kMax, kMax, 0}), 1);
    EXPECT_EQ(one(SamplerOptions{}, {-kMax, kMax, 0}), 1);
    o.typical_p = 0.5f;
    EXPECT_EQ(one(o, {-kMax, kMax, 0}), 1);
    o = plain();
    for (const TokenId id : draws(o, {-kInf, -kMax, -kInf, -kMax}, 100)) EXPECT_EQ(id % 2, 1);
    // Sums that overflow stay finite and keep their sign; only -infinity forbids.
    o = greedy();
    o.logit_bias = {{0, kMax}, {2, -kMax}};
    EXPECT_EQ(one(o, {kMax, 1, -kMax}), 0);
    o.logit_bias = {{0, -kMax}};
    EXPECT_EQ(one(o, {-kMax, -kInf}), 0);
    o = greedy();
    o.repeat_penalty = 1e-38f;
    o.frequency_penalty = kMax;
    o.presence_penalty = -kMax;
    EXPECT_EQ(one(o, {kMax, -kInf}, {0, 0, 0, 1}), 0);
}

TEST(Sampler, OneToken) {
    for (const SamplerOptions& o : {SamplerOptions{}, plain(), greedy()}) {
        EXPECT_EQ(one(o, {3}), 0);
        EXPECT_EQ(one(o, {-kMax}), 0);
        EXPECT_EQ(one(o, {0}, {0, 0}), 0);
    }
}

TEST(Sampler, PenaltyFormulas) {
    SamplerOptions o = greedy();
    o.repeat_penalty = 2;
    EXPECT_EQ(one(o, {4, 2.1f}, {0}), 1);       // 4 / 2 < 2.1
    EXPECT_EQ(one(o, {4, 1.9f}, {0, 0}), 0);    // once, not once for each occurrence
    EXPECT_EQ(one(o, {-1, -1.5f}, {0}), 1);     // -1 * 2 < -1.5
    EXPECT_EQ(one(o, {4, 2.1f}, {}), 0);
    o = greedy();
    o.frequency_penalty = 0.5f;
    EXPECT_EQ(one(o, {4, 2.9f}, {0, 0}), 0);    // 4 - 1
    EXPECT_EQ(one(o, {4, 2.9f}, {0, 0, 0}), 1);  // 4 - 1.5
    o = greedy();
    o.presence_penalty = 1;
    EXPECT_EQ(one(o, {4, 2.9f}, {0, 0, 0}), 0);  // 4 - 1, however often
    EXPECT_EQ(one(o, {4, 3.1f}, {0}), 1);
    o.presence_penalty = -1;
    EXPECT_EQ(one(o, {4, 4.5f}, {0}), 0);
}

TEST(Sampler, PenaltyWindow) {
    SamplerOptions o = greedy();
    o.presence_penalty = 10;
    const std::vector<float> x = {4, 3, 2, 1};
    o.penalty_last_n = 2;
    EXPECT_EQ(one(o, x, {0, 1}), 2);
    EXPECT_EQ(one(o, x, {0, 1, 2}), 0);  // 0 has left the window
    EXPECT_EQ(one(o, x, {0, 1, 0, 3}), 1);
    EXPECT_EQ(one(o, x, {0, 0, 0, 1, 1}), 0);
    o.penalty_last_n = 0;
    EXPECT_EQ(one(o, x, {0, 1}), 0);
    o.penalty_last_n = -1;
    EXPECT_EQ(one(o, x, std::vector<TokenId>(1000, 0)), 1);
    // The penalties count what is accepted, not what is sampled.
    Sampler s(o, 4);
    EXPECT_EQ(s.sample(x), 0);
    EXPECT_EQ(s.sample(x), 0);
    s.accept(0);
    EXPECT_EQ(s.sample(x), 1);
}

TEST(Sampler, LogitBias) {
    SamplerOptions o = greedy();
    o.logit_bias = {{0, -kInf}};
    EXPECT_EQ(one(o, {9, 1, 2}), 2);
    o.logit_bias = {{1, 5}, {1, 3.5f}};
    EXPECT_EQ(one(o, {9, 1, 2}), 1);
    o.logit_bias = {{1, 100}};
    EXPECT_EQ(one(o, {9, -kInf, 2}), 0);  // what the caller forbids stays forbidden
    o = plain();
    o.logit_bias = {{0, -kInf}, {2, -kInf}};
    for (const TokenId id : draws(o, {9, 1, 9}, 50)) EXPECT_EQ(id, 1);
}

TEST(Sampler, RefusesOptionsOutOfRangeAndNamesThem) {
    const auto with = [](auto change) {
        return refusal([&] {
            SamplerOptions o;
            change(o);
            Sampler(o, 10);
        });
    };
    const auto expect_named = [](const std::string& message, const std::string& name) {
        EXPECT_NE(message.find(name), std::string::npos) << message;
    };
    for (const float bad : {kNan, kInf, -kInf, -0.1f}) {
        expect_named(with([&](auto& o) { o.temperature = bad; }), "temperature");
        expect_named(with([&](auto& o) { o.top_p = bad; }), "top_p");
        expect_named(with([&](auto& o) { o.min_p = bad; }), "min_p");
        expect_named(with([&](auto& o) { o.typical_p = bad; }), "typical_p");
        expect_named(with([&](auto& o) { o.repeat_penalty = bad; }), "repeat_penalty");
    }
    expect_named(with([](auto& o) { o.top_p = 1.01f; }), "top_p");
    expect_named(with([](auto& o) { o.min_p = 1.01f; }), "min_p");
    expect_named(with([](auto& o) { o.typical_p = 1.01f; }), "typical_p");
    expect_named(with([](auto& o) { o.repeat_penalty = 0; }), "repeat_penalty");
    for (const float bad : {kNan, kInf, -kInf}) {
        expect_named(with([&](auto& o) { o.frequency_penalty = bad; }), "frequency_penalty");
        expect_named(with([&](auto& o) { o.presence_penalty = bad; }), "presence_penalty");
    }
    expect_named(with([](auto& o) { o.penalty_last_n = -2; }), "penalty_last_n");
    expect_named(with([](auto& o) { o.logit_bias = {{10, 1.0f}}; }), "token 10");
    expect_named(with([](auto& o) { o.logit_bias = {{-1, 1.0f}}; }), "token -1");
    expect_named(with([](auto& o) { o.logit_bias = {{3, kNan}}; }), "logit_bias of token 3");
    expect_named(with([](auto& o) { o.logit_bias = {{3, kInf}}; }), "logit_bias of token 3");
    expect_named(refusal([] { Sampler({}, 0); }), "vocabulary");
    expect_named(refusal([] { Sampler({}, 0x80000000u); }), "vocabulary");
    EXPECT_NO_THROW(Sampler({}, 10));
}

TEST(Sampler, RefusesBrokenLogitsAndStaysAsItWas) {
    const std::vector<float> good = random_logits(10, 3);
    Sampler s({}, 10), twin({}, 10);
    std::vector<float> bad = good;
    bad[7] = kNan;
    EXPECT_NE(refusal([&] { s.sample(bad); }).find("token 7 is nan"), std::string::npos);
    bad[7] = kInf;
    EXPECT_NE(refusal([&] { s.sample(bad); }).find("token 7 is inf"), std::string::npos);
    bad.assign(10, -kInf);
    EXPECT_NE(refusal([&] { s.sample(bad); }).find("forbidden"), std::string::npos);
    bad.assign(9, 1);
    EXPECT_NE(refusal([&] { s.sample(bad); }).find("9 logits"), std::string::npos);
    refusal([&] { s.sample({}); });
    EXPECT_NE(refusal([&] { s.accept(10); }).find("token 10"), std::string::npos);
    EXPECT_NE(refusal([&] { s.accept(-1); }).find("token -1"), std::string::npos);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(s.sample(good), twin.sample(good));
    SamplerOptions o = greedy();
    o.logit_bias = {{0, -kInf}, {1, -kInf}};
    EXPECT_NE(refusal([&] { one(o, {1, 2}); }).find("logit_bias"), std::string::npos);
}

TEST(Sampler, SameSeedSameTokens) {
    const std::vector<float> x = random_logits(1000, 9, 1);
    SamplerOptions o = plain();
    o.seed = 42;
    const std::vector<TokenId> first = draws(o, x, 100);
    EXPECT_EQ(draws(o, x, 100), first);
    o.seed = 43;
    EXPECT_NE(draws(o, x, 100), first);
    // Filters that take nothing away do not change the choice either.
    o.seed = 42;
    o.top_k = 1000;
    EXPECT_EQ(draws(o, x, 100), first);
}

// Pinned: a change here changes what users' seeds mean.
TEST(Sampler, SeedsKeepTheirMeaning) {
    std::vector<float> x(100);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 37) % 100) / 16;
    SamplerOptions o;
    o.seed = 2026;
    EXPECT_EQ(draws(o, x, 12), (std::vector<TokenId>{54, 27, 81, 89, 81, 78, 81, 81, 83, 27, 97, 32}));
    o = plain();
    o.seed = 2026;
    EXPECT_EQ(draws(o, x, 12), (std::vector<TokenId>{54, 27, 81, 89, 81, 78, 81, 81, 85, 26, 97, 32}));
}

// The sampler takes the fastest softmax of this CPU: it must be the reference's, bit for bit, at any length.
TEST(Sampler, EveryInstructionSetGivesTheSameProbabilities) {
    const kernels::CpuFeatures cpu = kernels::detect_cpu();
    const auto list = kernels::isas(cpu);
    for (const std::size_t n : {1u, 2u, 15u, 16u, 17u, 40u, 1001u, 32003u, 200000u}) {
        const std::vector<float> x = random_logits(n, static_cast<std::uint32_t>(n), 8);
        std::vector<float> want(n), got(n);
        kernels::table_ref().softmax(x.data(), want.data(), n);
        for (std::size_t i = 0; i < list.count; ++i) {
            if (!list.items[i].usable) continue;
            kernels::select(cpu, list.items[i].name)->table.softmax(x.data(), got.data(), n);
            EXPECT_EQ(want, got) << list.items[i].name << ", " << n;
        }
    }
}

TEST(Sampler, LargeVocabulary) {
    // Steps of 0.25, so that no filter decides narrowly; many ties.
    std::vector<float> x = random_logits(200000, 11, 2);
    for (float& v : x) v = std::round(v * 4) / 4;
    const int n = test::kSanitized ? 30 : 200;
    SamplerOptions o = plain();
    o.top_k = 20;
    expect_distribution(o, x, {}, n);
    o = plain();
    o.top_p = 0.001f;
    expect_distribution(o, x, {}, n);
    o = plain();
    o.min_p = 0.2f;
    expect_distribution(o, x, {}, n);
    o = plain();
    o.typical_p = 0.0005f;
    expect_distribution(o, x, {}, n / 7);
    // Orders that are worst for the selection of the best.
    std::vector<float> up(200000);
    for (std::size_t i = 0; i < up.size(); ++i) up[i] = static_cast<float>(i) * 1e-3f;
    o = plain();
    o.top_k = 3;
    std::set<TokenId> got;
    for (const TokenId id : draws(o, up, 50)) got.insert(id);
    EXPECT_EQ(got, (std::set<TokenId>{199997, 199998, 199999}));
    std::reverse(up.begin(), up.end());
    got.clear();
    for (const TokenId id : draws(o, up, 50)) got.insert(id);
    EXPECT_EQ(got, (std::set<TokenId>{0, 1, 2}));
}

// Generous, so that a busy machine passes; it is there to catch a full sort or a quadratic slip.
// Vocabularies are looked through in blocks: greatest values, equals and broken ones at every place of blocks that are
// whole and of a last one that is not.
TEST(Sampler, BlocksOfAVocabulary) {
    for (const std::size_t n : {1u, 127u, 128u, 129u, 1000u}) {
        for (std::size_t at = 0; at < n; at += n > 200 ? 13 : 1) {
            std::vector<float> logits(n, -1.0f);
            logits[at] = 3.0f;
            if (at + 200 < n) logits[at + 200] = 3.0f;
            Sampler greedy({.temperature = 0}, static_cast<std::uint32_t>(n));
            EXPECT_EQ(greedy.sample(logits), static_cast<TokenId>(at));
            Sampler two({.temperature = 1, .top_k = 2, .top_p = 1, .min_p = 0.9f, .seed = at}, static_cast<std::uint32_t>(n));
            const TokenId drawn = two.sample(logits);
            EXPECT_TRUE(drawn == static_cast<TokenId>(at) || (at + 200 < n && drawn == static_cast<TokenId>(at + 200)));
            for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
                logits[at] = bad;
                EXPECT_THROW(greedy.sample(logits), Error) << n << " " << at;
            }
        }
    }
}

TEST(Sampler, IsFast) {
    const std::vector<float> x = random_logits(128256, 12, 2);
    Sampler s({}, 128256);
    double best = 1e9;
    for (int i = 0; i < 20; ++i) {
        const auto start = std::chrono::steady_clock::now();
        s.sample(x);
        best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    RecordProperty("best_ms", std::to_string(best));
#ifdef NDEBUG
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    EXPECT_LT(best, 1.0);
#endif
#endif
}

}  // namespace
}  // namespace tern
