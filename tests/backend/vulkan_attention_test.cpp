// Attention on a Vulkan device whose f32 arithmetic is IEEE 754's, as lavapipe's is, gives the bits of the
// reference (docs/numerics.md, "Attention"), in both forms: one subgroup that does all, which software
// devices take, and several that share the pages of a chunk.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backend/vulkan/backend.h"
#include "conformance.h"
#if TERN_TESTS_VULKAN
#include "backend/vulkan/device.h"
#endif

namespace tern::test {
namespace {

constexpr KvType kTypes[] = {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0};
constexpr std::uint32_t kChunk = kernels::kChunkTokens;

// Nothing where there is no device.
backend::Backend* one_subgroup() {
    const std::vector<BackendSetup> setups = loose_setups();
    return setups.empty() ? nullptr : &make_backend_of(setups[0]);
}
backend::Backend* several_subgroups() {
#if TERN_TESTS_VULKAN
    if (!loose_setups().empty()) {
        std::unique_ptr<backend::Backend>& kept = kept_backends()["vulkan, several subgroups"];
        if (!kept) {
            const auto device =
                backend::vulkan::Device::open({.name = vulkan_device(), .cache_folder = {}, .log = {}});
            device->pretend_hardware();
            kept = backend::vulkan::make_vulkan_on(device);
        }
        return kept.get();
    }
#endif
    return nullptr;
}

struct Case {
    std::uint32_t heads = 4, kv_heads = 2, k_dim = 16, v_dim = 16, window = 0;
    float softcap = 0;
    bool causal = true, sinks = false, slopes = false;
    float size = 1.0f;  // of the queries
};

struct Attention {
    Case shape;
    Matrix q, k, v, sinks;
    graph::Graph g;
    Attention(const Case& c, std::uint32_t tokens)
        : shape(c),
          q(tokens, std::uint64_t{c.heads} * c.k_dim, 11, c.size),
          k(tokens, std::uint64_t{c.kv_heads} * c.k_dim, 12),
          v(tokens, std::uint64_t{c.kv_heads} * c.v_dim, 13),
          sinks(1, c.heads, 14, 3.0f) {
        graph::AttentionOptions o{.scale = 1.0f / std::sqrt(static_cast<float>(c.k_dim)),
                                  .visibility = {c.window, c.causal},
                                  .softcap = c.softcap};
        if (c.sinks) o.sinks = sinks.weight();
        if (c.slopes)
            for (std::uint32_t h = 0; h < c.heads; ++h)
                o.slopes.push_back(std::exp2(-1.5f * static_cast<float>(h + 1)));
        g.set_logits(g.take_outputs(g.attention(g.embed(q.weight()), g.embed(k.weight()), g.embed(v.weight()),
                                                {c.heads, c.kv_heads, c.k_dim, c.v_dim}, o)));
    }
};

// Index of the first element that differs in bits, other than NaN from NaN; the size where none does.
std::size_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i])))
            return i;
    return a.size();
}

void expect_bits(const Attention& a, const std::vector<std::vector<Sequence>>& steps, KvType type) {
    const std::vector<float> expected = run_graph({}, a.g, steps, type);
    for (backend::Backend* backend : {one_subgroup(), several_subgroups()}) {
        const std::vector<float> got = run_graph(*backend, a.g, steps, type);
        ASSERT_EQ(got.size(), expected.size());
        const std::size_t i = first_difference(got, expected),
                          width = std::size_t{a.shape.heads} * a.shape.v_dim;
        if (i == got.size()) continue;
        std::size_t differ = 0;
        for (std::size_t n = 0; n < got.size(); ++n) differ += first_difference({got[n]}, {expected[n]}) == 0;
        ADD_FAILURE() << (backend == one_subgroup() ? "one subgroup" : "several subgroups") << ", type "
                      << static_cast<int>(type) << ", " << a.shape.heads << "/" << a.shape.kv_heads
                      << " heads of " << a.shape.k_dim << "/" << a.shape.v_dim << ", window "
                      << a.shape.window << ": row " << i / width << ", head " << i % width / a.shape.v_dim
                      << ", dimension " << i % a.shape.v_dim << ": " << got[i] << " and " << expected[i]
                      << "; " << differ << " of " << got.size() << " differ";
    }
}

class VulkanAttention : public testing::Test {
protected:
    void SetUp() override {
        if (!one_subgroup()) GTEST_SKIP() << "no Vulkan device";
    }
};

TEST(BitComparer, SeesOneBitAndTakesNaNForNaN) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(first_difference({1, 2, nan}, {1, 2, -nan}), 3u);
    EXPECT_EQ(first_difference({1, 2}, {1, std::nextafter(2.0f, 3.0f)}), 1u);
    EXPECT_EQ(first_difference({0.0f}, {-0.0f}), 0u);
    EXPECT_EQ(first_difference({1, nan}, {1, 2}), 1u);
}

TEST_F(VulkanAttention, SeveralSubgroupsAreAnotherForm) {
    EXPECT_NE(one_subgroup(), several_subgroups());
}

// Every head size and option within a chunk: in one piece, in pieces with a decode step, in company.
TEST_F(VulkanAttention, OneChunk) {
    for (const Case& c :
         {Case{4, 2, 64, 64}, Case{6, 2, 10, 7}, Case{3, 3, 80, 96}, Case{8, 1, 128, 128, 100},
          Case{16, 1, 33, 17, 30, 3.0f, true, true, true}}) {
        constexpr std::uint32_t n = 150;
        const Attention a(c, n);
        for (const KvType type : kTypes) {
            // Compiling takes seconds for each; all types with one shape that fills blocks and one that does not.
            if (type != KvType::f32 && c.k_dim != 64 && c.k_dim != 33) continue;
            if (type == KvType::f32) expect_bits(a, {{{n}}}, type);
            expect_bits(a, {{{1, 0}}, {{62, 1}}, {{2, 63}}, {{75, 65}}, {{1, 140}}, {{1, 141}}}, type);
        }
        expect_bits(a, {{{20, 0}, {30, 0}}, {{1, 20}, {40, 30}}, {{49, 21}, {0, 70}}, {{1, 70}, {1, 70}}},
                    KvType::f16);
    }
}

// Chunks that merge; queries whose window begins in a page, in a later chunk, and right at a border; decode
// steps at borders.
TEST_F(VulkanAttention, SeveralChunks) {
    for (const std::uint32_t window : {65u, 1022u}) {
        const Case c{4, 2, 16, 10, window};
        constexpr std::uint32_t n = 2 * kChunk + 130;
        const Attention a(c, n);
        const KvType type = window == 65 ? KvType::f16 : KvType::q8_0;
        expect_bits(a,
                    {{{kChunk - 2, 0}},
                     {{1, kChunk - 2}},
                     {{1, kChunk - 1}},
                     {{1, kChunk}},
                     {{1, kChunk + 1}},
                     {{kChunk - 2, kChunk + 2}},
                     {{1, 2 * kChunk}},
                     {{9, 2 * kChunk + 1}},
                     {{1, 2 * kChunk + 10}}},
                    type);
    }
    for (const KvType type : {KvType::f32, KvType::q4_0}) {
        const Attention a({6, 2, 20, 36, 0, 5.0f, true, true, true, 4.0f}, 2 * kChunk + 4);
        expect_bits(a, {{{2 * kChunk + 3}}, {{1, 2 * kChunk + 3}}}, type);
    }
}

TEST_F(VulkanAttention, NotCausal) {
    for (const Case& c : {Case{6, 2, 10, 7, 0, 0, false}, Case{2, 2, 32, 32, 41, 0, false},
                          Case{4, 4, 16, 16, 1500, 0, false, false, true}}) {
        const Attention a(c, 1200);
        expect_bits(a, {{{1200}}}, KvType::f32);
        expect_bits(a, {{{90}, {1110}}}, KvType::q8_0);
    }
}

// Scores of hundreds: exponentials that underflow, corrections of 0, and chunks whose weight vanishes.
TEST_F(VulkanAttention, LargeScores) {
    for (const float size : {30.0f, 1e4f}) {
        const Attention a({4, 2, 16, 16, 0, 0, true, false, false, size}, kChunk + 200);
        expect_bits(a, {{{kChunk + 199}}, {{1, kChunk + 199}}}, KvType::f32);
    }
}

// NaN and infinity among keys and values: the rows that see them, and no others, not even those of the same
// block.
TEST_F(VulkanAttention, NotFinite) {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    for (const std::uint32_t window : {0u, 40u}) {
        Attention a({4, 2, 16, 16, window}, 200);
        const std::uint32_t width = 2 * 16;
        a.k.data[101 * width + 3] = nan;   // KV head 0
        a.k.data[50 * width + 16] = -inf;  // KV head 1: -infinity for some, infinity for others
        a.v.data[110 * width + 5] = nan;
        a.v.data[122 * width + 20] = inf;
        a.v.data[123 * width + 20] = -inf;
        for (const KvType type : {KvType::f32, KvType::f16}) {
            expect_bits(a, {{{200}}}, type);
            expect_bits(a, {{{100}}, {{1, 100}}, {{1, 101}}, {{1, 102}}, {{97, 103}}}, type);
        }
        const std::vector<float> got = run_graph(*one_subgroup(), a.g, {{{200}}});
        EXPECT_FALSE(std::isnan(got[100 * 64 + 0]));
        EXPECT_TRUE(std::isnan(got[101 * 64 + 0]));
    }
}

// More pages than subgroups, and heads of more dimensions than lanes.
TEST_F(VulkanAttention, WideHeads) {
    for (const KvType type : {KvType::f16, KvType::q4_0}) {
        const Attention a({2, 1, 136, 136}, 700);
        expect_bits(a, {{{9, 0}}, {{690, 9}}, {{1, 699}}}, type);
        const Attention b({8, 1, 8, 200}, 700);
        expect_bits(b, {{{699, 0}}, {{1, 699}}}, type);
    }
}

}  // namespace
}  // namespace tern::test
