// slice and concat.
#include "conformance.h"

namespace tern::test {
namespace {

TEST(Slice, TakesTheColumnsOfEveryPart) {
    for (const std::uint32_t groups : {1u, 3u, 8u})
        for (const auto& cut : {std::pair{0u, 5u}, {2u, 3u}, {4u, 13u}, {0u, 17u}}) {
            constexpr std::uint32_t n = 6, width = 17;
            const Matrix x(n, width * groups, 1);
            graph::Graph g;
            g.set_logits(g.take_outputs(g.slice(g.embed(x.weight()), cut.first, cut.second, groups)));
            const std::vector<float> got = conform(g, {{{n}}});
            ASSERT_EQ(got.size(), std::size_t{n} * groups * cut.second);
            for (std::size_t i = 0; i < got.size(); ++i)
                ASSERT_EQ(got[i], x.data[i / cut.second * width + cut.first + i % cut.second]);
        }
}

TEST(Concat, PutsTheSecondBehindTheFirst) {
    for (const std::uint32_t groups : {1u, 3u, 8u}) {
        constexpr std::uint32_t n = 6, a_width = 5, b_width = 12, width = a_width + b_width;
        const Matrix a(n, a_width * groups, 1), b(n, b_width * groups, 2);
        graph::Graph g;
        g.set_logits(g.take_outputs(g.concat(g.embed(a.weight()), g.embed(b.weight()), groups)));
        const std::vector<float> got = conform(g, {{{n}}});
        ASSERT_EQ(got.size(), std::size_t{n} * groups * width);
        for (std::size_t i = 0; i < got.size(); ++i) {
            const std::size_t part = i / width, column = i % width;
            ASSERT_EQ(got[i], column < a_width ? a.data[part * a_width + column] : b.data[part * b_width + column - a_width]);
        }
    }
}

}  // namespace
}  // namespace tern::test
