// linear_heads: equals one linear operation per part of the row, which has a test of its own.
#include "conformance.h"
#include "kernels/formats/format.h"

namespace tern::test {
namespace {

TEST(LinearHeads, EqualsAProductPerHead) {
    for (const DType dtype : {DType::F32, DType::F16, DType::Q8_0, DType::Q4_K})
        for (const std::uint32_t heads : {1u, 3u, 5u})
            for (const std::uint32_t n : {1u, 3u, 70u}) {
                const std::uint64_t cols = dtype == DType::Q4_K ? 512 : 96, rows = 13;
                const Matrix x(n, cols * heads, 1), w(rows * heads, cols, 2);
                std::vector<std::byte> data(row_bytes(dtype, cols) * rows * heads);
                kernels::format_ops(dtype).encode(w.data.data(), nullptr, data.data(), w.data.size());
                const auto weight = [&](std::uint32_t head, std::uint32_t slabs) {
                    return graph::Weight{.data = data.data() + head * rows * row_bytes(dtype, cols), .dtype = dtype,
                                         .cols = cols, .rows = rows, .slabs = slabs, .name = "test"};
                };
                graph::Graph g;
                g.set_logits(g.take_outputs(g.linear_heads(g.embed(x.weight()), weight(0, heads))));
                const std::vector<float> got = conform(g, {{{n}}});
                ASSERT_EQ(got.size(), n * rows * heads);
                for (std::uint32_t h = 0; h < heads; ++h) {
                    graph::Graph one;
                    const auto part = one.slice(one.embed(x.weight()), h * static_cast<std::uint32_t>(cols),
                                                static_cast<std::uint32_t>(cols));
                    one.set_logits(one.take_outputs(one.linear(part, weight(h, 1))));
                    const std::vector<float> want = run_graph({}, one, {{{n}}});
                    for (std::uint32_t t = 0; t < n; ++t)
                        ASSERT_EQ(std::memcmp(got.data() + (t * heads + h) * rows, want.data() + t * rows,
                                              rows * sizeof(float)),
                                  0)
                            << to_string(dtype) << " head " << h << " of " << heads << ", row " << t << " of " << n;
                }
            }
}

// A row that is read whole and in parts is quantised for each.
TEST(LinearHeads, BesideALinearOfTheSameInput) {
    constexpr std::uint64_t kCols = 64, kRows = 16;
    constexpr std::uint32_t kHeads = 3, n = 4;
    const Matrix x(n, kCols * kHeads, 1), w(kRows * kHeads, kCols, 2), v(kRows * kHeads, kCols * kHeads, 3);
    std::vector<std::byte> a(row_bytes(DType::Q8_0, w.data.size())), b(row_bytes(DType::Q8_0, v.data.size()));
    kernels::format_ops(DType::Q8_0).encode(w.data.data(), nullptr, a.data(), w.data.size());
    kernels::format_ops(DType::Q8_0).encode(v.data.data(), nullptr, b.data(), v.data.size());
    const graph::Weight parts{.data = a.data(), .dtype = DType::Q8_0, .cols = kCols, .rows = kRows, .slabs = kHeads,
                              .name = "parts"};
    const graph::Weight all{.data = b.data(), .dtype = DType::Q8_0, .cols = kCols * kHeads, .rows = kRows * kHeads,
                            .slabs = 1, .name = "all"};
    const auto run = [&](bool with_parts, bool with_all) {
        graph::Graph g;
        const graph::Value in = g.embed(x.weight());
        graph::Value out;
        if (with_all) out = g.linear(in, all);
        if (with_parts) out = with_all ? g.add(g.linear_heads(in, parts), out) : g.linear_heads(in, parts);
        g.set_logits(g.take_outputs(out));
        return conform(g, {{{n}}});
    };
    const std::vector<float> both = run(true, true), one = run(true, false), other = run(false, true);
    for (std::size_t i = 0; i < both.size(); ++i) ASSERT_EQ(both[i], one[i] + other[i]);
}

}  // namespace
}  // namespace tern::test
