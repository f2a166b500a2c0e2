// The KV types of the Vulkan backend: what is stored, and in how many bytes.
#include <cmath>
#include <limits>

#include "conformance.h"

namespace tern::test {
namespace {

constexpr KvType kTypes[] = {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0};

// With a window of one position the output is that token's value as it was stored.
struct Stored {
    std::uint32_t heads = 2, dim;
    Matrix q, k, v;
    graph::Graph g;
    Stored(std::uint32_t d, std::uint32_t tokens)
        : dim(d), q(tokens, heads * d, 1), k(tokens, heads * d, 2), v(tokens, heads * d, 3) {}
    void build() {
        g.set_logits(g.take_outputs(g.attention(g.embed(q.weight()), g.embed(k.weight()), g.embed(v.weight()),
                                                {heads, heads, dim, dim}, {.visibility = {.window = 1}})));
    }
};

TEST(VulkanKv, ValuesAreStoredAsTheReferenceDoes) {
    constexpr std::uint32_t n = 70;
    for (const std::uint32_t dim : {64u, 33u})
        for (const KvType type : kTypes) {
            Stored s(dim, n);
            const auto row = [&](std::uint32_t t) {
                return s.v.data.data() + std::size_t{t} * s.heads * dim;
            };
            const bool blocks = type == KvType::q8_0 || type == KvType::q4_0;
            std::fill(row(3), row(4), 0.0f);
            if (blocks) {
                row(n - 1)[dim - 1] = std::numeric_limits<float>::quiet_NaN();  // its block alone
                row(n - 1)[dim] = -std::numeric_limits<float>::infinity();
                for (std::uint32_t d = 0; d < s.heads * dim; ++d) {
                    row(7)[d] *= 1e-10f;  // the scale is 0
                    row(8)[d] *= 1e10f;   // cut at the largest scale
                }
            } else {
                for (std::uint32_t d = 0; d < s.heads * dim; ++d) row(7)[d] *= 1e-6f;  // subnormal as f16
            }
            s.build();
            const std::vector<float> expected = run_graph({}, s.g, {{{n}}}, type);
            for (const BackendSetup& setup : loose_setups()) {
                const std::vector<float> got = run_graph(setup, s.g, {{{n}}}, type);
                ASSERT_EQ(got.size(), expected.size());
                for (std::size_t i = 0; i < got.size(); ++i) {
                    const std::size_t token = i / (s.heads * dim);
                    if (token == n - 2) continue;  // may meet its neighbour's NaN, with weight 0
                    ASSERT_TRUE(same_number(got[i], expected[i], make_backend_of(setup).exact_subnormals()))
                        << name_of(setup) << ", type " << static_cast<int>(type) << ", token " << token
                        << ", dimension " << i % dim << " of " << dim << ": " << got[i] << " instead of "
                        << expected[i];
                }
            }
        }
}

TEST(VulkanKv, PagesAreAsLargeAsPlanned) {
    for (const std::uint32_t dim : {64u, 128u, 192u}) {
        Stored s(dim, 1);
        s.build();
        for (const BackendSetup& setup : loose_setups())
            for (const KvType type : kTypes)
                EXPECT_EQ(
                    make_backend_of(setup).make_kv(s.g, backend::kv_groups(s.g, type), type, 1)->page_bytes(),
                    backend::kv_groups(s.g, type).page_bytes)
                    << name_of(setup) << " type " << static_cast<int>(type) << " of " << dim;
    }
}

}  // namespace
}  // namespace tern::test
