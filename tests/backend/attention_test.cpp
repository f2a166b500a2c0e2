#include <cmath>

#include "conformance.h"

namespace tern::test {
namespace {

struct Shape {
    std::uint32_t heads, kv_heads, k_dim, v_dim, window = 0;
    float softcap = 0;
    bool causal = true, sinks = false, slopes = false;
};

struct Attention {
    Shape shape;
    Matrix q, k, v, sinks;
    graph::Graph g;

    Attention(const Shape& s, std::uint32_t tokens)
        : shape(s), q(tokens, std::uint64_t{s.heads} * s.k_dim, 1), k(tokens, std::uint64_t{s.kv_heads} * s.k_dim, 2),
          v(tokens, std::uint64_t{s.kv_heads} * s.v_dim, 3), sinks(1, s.heads, 4, 3.0f) {
        const graph::Value out = g.attention(g.embed(q.weight()), g.embed(k.weight()), g.embed(v.weight()),
                                             {s.heads, s.kv_heads, s.k_dim, s.v_dim}, options());
        g.set_logits(g.take_outputs(out));
    }
    float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape.k_dim)); }

    float slope(std::uint32_t head) const { return shape.slopes ? std::exp2(-1.5f * static_cast<float>(head + 1)) : 0.0f; }
    graph::AttentionOptions options() const {
        graph::AttentionOptions o{.scale = scale(), .visibility = {shape.window, shape.causal}, .softcap = shape.softcap};
        if (shape.sinks) o.sinks = sinks.weight();
        if (shape.slopes)
            for (std::uint32_t h = 0; h < shape.heads; ++h) o.slopes.push_back(slope(h));
        return o;
    }

    // Exact attention of token t of a sequence whose tokens lie at `rows` of the tables.
    void expect_token(const float* got, const std::vector<std::uint32_t>& rows, std::uint32_t t) const {
        std::uint32_t low = shape.window && t + 1 > shape.window ? t + 1 - shape.window : 0, end = t + 1;
        if (!shape.causal) {
            low = shape.window && t > shape.window / 2 ? t - shape.window / 2 : 0;
            end = static_cast<std::uint32_t>(rows.size());
            if (shape.window) end = std::min(end, t + shape.window / 2 + 1);
        }
        for (std::uint32_t h = 0; h < shape.heads; ++h) {
            const std::uint32_t kv = h / (shape.heads / shape.kv_heads);
            std::vector<double> p;
            double max = -1e300, sum = 0;
            for (std::uint32_t i = low; i < end; ++i) {
                double s = 0;
                for (std::uint32_t d = 0; d < shape.k_dim; ++d)
                    s += static_cast<double>(q.row(rows[t])[h * shape.k_dim + d]) * k.row(rows[i])[kv * shape.k_dim + d];
                s *= static_cast<double>(scale());
                if (shape.softcap > 0) s = shape.softcap * std::tanh(s / shape.softcap);
                s -= static_cast<double>(slope(h)) * std::abs(static_cast<double>(i) - static_cast<double>(t));
                p.push_back(s);
                max = std::max(max, s);
            }
            for (double& s : p) sum += s = std::exp(s - max);
            if (shape.sinks) sum += std::exp(static_cast<double>(sinks.data[h]) - max);
            for (std::uint32_t d = 0; d < shape.v_dim; ++d) {
                double exact = 0, size = 0;
                for (std::uint32_t i = low; i < end; ++i) {
                    exact += p[i - low] / sum * v.row(rows[i])[kv * shape.v_dim + d];
                    size += p[i - low] / sum * std::abs(v.row(rows[i])[kv * shape.v_dim + d]);
                }
                // Scores of size at most 8 here, before ALiBi's slopes: their rounding errors (k_dim terms) go through
                // exp as they are. A slope times a distance adds a rounding of its size.
                const double far = static_cast<double>(slope(h)) * static_cast<double>(end - low);
                const double units = 16.0 * shape.k_dim + 2.0 * static_cast<double>(end - low) + 64 + 4 * far;
                expect_near(got[h * shape.v_dim + d], exact, size, units);
            }
        }
    }
};

std::vector<Shape> shapes() {
    if (kSanitized) return {{6, 2, 10, 7}, {4, 2, 16, 16, 5}, {2, 1, 33, 17, 0, 3.0f}};  // every tail and option
    return {{1, 1, 16, 16},    {4, 2, 64, 64},    {6, 2, 10, 7},       {3, 3, 80, 96},
            {8, 1, 128, 128}, {4, 2, 32, 32, 5}, {4, 4, 64, 64, 100}, {2, 1, 48, 48, 0, 3.0f}};
}

TEST(AttentionOp, PrefillInOnePiece) {
    for (const Shape& s : shapes()) {
        constexpr std::uint32_t n = 150;
        const Attention a(s, n);
        const std::vector<float> got = conform(a.g, {{{n}}});
        std::vector<std::uint32_t> rows(n);
        for (std::uint32_t i = 0; i < n; ++i) rows[i] = i;
        for (std::uint32_t t = 0; t < n; t += 7) a.expect_token(got.data() + t * std::size_t{s.heads} * s.v_dim, rows, t);
    }
}

// The same tokens in chunks, one by one, and with other sequences: the same bits.
TEST(AttentionOp, ChunksAndNeighboursChangeNothing) {
    for (const Shape& s : shapes()) {
        constexpr std::uint32_t n = 140;
        const Attention a(s, n);
        const std::size_t width = std::size_t{s.heads} * s.v_dim;
        for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0}) {
            const std::vector<float> whole = conform(a.g, {{{n}}}, type, type == KvType::f32);
            expect_same_bits(conform(a.g, {{{1, 0}}, {{62, 1}}, {{2, 63}}, {{75, 65}}}, type, type == KvType::f32), whole, "chunks");
            std::vector<std::vector<Sequence>> single;
            for (std::uint32_t i = 0; i < n; ++i) single.push_back({{1, i}});
            expect_same_bits(run_graph({"cpu", "", 2}, a.g, single, type), whole, "one by one");
        }
        // Two sequences, interleaved: tokens are handed out in batch order.
        const std::vector<float> mixed = conform(a.g, {{{20, 0}, {30, 0}}, {{1, 20}, {40, 30}}, {{49, 21}, {0, 70}}});
        std::vector<std::uint32_t> first, second;
        for (std::uint32_t i = 0; i < 20; ++i) first.push_back(i);
        for (std::uint32_t i = 20; i < 50; ++i) second.push_back(i);
        first.push_back(50);
        for (std::uint32_t i = 51; i < 91; ++i) second.push_back(i);
        for (std::uint32_t i = 91; i < 140; ++i) first.push_back(i);
        for (std::uint32_t t = 0; t < first.size(); t += 5) a.expect_token(mixed.data() + first[t] * width, first, t);
        for (std::uint32_t t = 0; t < second.size(); t += 5) a.expect_token(mixed.data() + second[t] * width, second, t);
    }
}

// Sinks, ALiBi, and both with everything else.
TEST(AttentionOp, SinksAndSlopes) {
    for (const Shape& s : {Shape{.heads = 6, .kv_heads = 2, .k_dim = 10, .v_dim = 7, .sinks = true},
                           Shape{.heads = 4, .kv_heads = 2, .k_dim = 16, .v_dim = 16, .slopes = true},
                           Shape{.heads = 4, .kv_heads = 1, .k_dim = 33, .v_dim = 17, .window = 30, .softcap = 3.0f,
                                 .sinks = true, .slopes = true}}) {
        constexpr std::uint32_t n = 150;
        const Attention a(s, n);
        std::vector<std::uint32_t> rows(n);
        for (std::uint32_t i = 0; i < n; ++i) rows[i] = i;
        for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0}) {
            const std::vector<float> got = conform(a.g, {{{n}}}, type, type == KvType::f32);
            if (type == KvType::f32)
                for (std::uint32_t t = 0; t < n; t += 7)
                    a.expect_token(got.data() + t * std::size_t{s.heads} * s.v_dim, rows, t);
            expect_same_bits(conform(a.g, {{{1, 0}}, {{62, 1}}, {{2, 63}}, {{85, 65}}}, type, false), got, "chunks");
        }
    }
}

// An encoder: every token sees its whole segment, or what is near on both sides; other segments change nothing.
TEST(AttentionOp, NotCausal) {
    for (const Shape& s : {Shape{.heads = 6, .kv_heads = 2, .k_dim = 10, .v_dim = 7, .causal = false},
                           Shape{.heads = 2, .kv_heads = 2, .k_dim = 32, .v_dim = 32, .window = 41, .causal = false},
                           Shape{.heads = 4, .kv_heads = 4, .k_dim = 16, .v_dim = 16, .causal = false, .slopes = true}}) {
        constexpr std::uint32_t n = 1200, first = 90;
        const Attention a(s, n);
        const std::size_t width = std::size_t{s.heads} * s.v_dim;
        const std::vector<float> whole = conform(a.g, {{{n}}}), two = conform(a.g, {{{first}, {n - first}}});
        std::vector<std::uint32_t> rows(n);
        for (std::uint32_t i = 0; i < n; ++i) rows[i] = i;
        for (std::uint32_t t = 0; t < n; t += 97) a.expect_token(whole.data() + t * width, rows, t);
        const std::vector<std::uint32_t> head(rows.begin(), rows.begin() + first), tail(rows.begin() + first, rows.end());
        for (std::uint32_t t = 0; t < first; t += 17) a.expect_token(two.data() + t * width, head, t);
        for (std::uint32_t t = 0; t < n - first; t += 97) a.expect_token(two.data() + (first + t) * width, tail, t);
        std::vector<float> alone = conform(a.g, {{{first}}, {{n - first}}});
        expect_same_bits(alone, two, "alone");
    }
}

// Across the border of an attention chunk. The last steps are of few tokens and heads, so that workers share chunks.
TEST(AttentionOp, LongContext) {
    for (const std::uint32_t window : {0u, 700u, 1500u}) {
        const Shape s = kSanitized ? Shape{2, 1, 8, 8, window} : Shape{4, 2, 16, 16, window};
        constexpr std::uint32_t n = (kSanitized ? 1 : 2) * kernels::kChunkTokens + 130;
        const Attention a(s, n);
        const std::vector<float> whole = conform(a.g, {{{n}}}, KvType::f32, window == 700);
        for (const KvType type : {KvType::q8_0, KvType::q4_0}) {
            const std::vector<float> narrow = conform(a.g, {{{n}}}, type, false);
            expect_same_bits(conform(a.g, {{{1000, 0}}, {{100, 1000}}, {{n - 1100, 1100}}}, type, false), narrow, "narrow KV");
        }
        std::vector<std::uint32_t> rows(n);
        for (std::uint32_t i = 0; i < n; ++i) rows[i] = i;
        for (const std::uint32_t t : {0u, 1023u, 1024u, 1025u, 2047u, 2048u, n - 1})
            if (t < n) a.expect_token(whole.data() + std::size_t{t} * s.heads * s.v_dim, rows, t);
        expect_same_bits(conform(a.g, {{{1000, 0}}, {{100, 1000}}, {{n - 1104, 1100}}, {{3, n - 4}}, {{1, n - 1}}}, KvType::f32, false), whole,
                         "chunks");
    }
}

// What a machine plans for a page is what the pages take.
TEST(KvPages, PageBytes) {
    const auto backend = backend::make_backend("cpu", "", 1);
    for (const Shape& s : shapes()) {
        const Attention a(s, 2);
        for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0}) {
            const std::uint64_t bytes = backend::kv_groups(a.g, type).page_bytes;
            EXPECT_EQ(backend->make_kv(a.g, backend::kv_groups(a.g, type), type, 1)->page_bytes(), bytes);
            const std::uint64_t elements = std::uint64_t{s.kv_heads} * (s.k_dim + s.v_dim) * kernels::kPageTokens;
            if (type == KvType::q8_0) {
                EXPECT_GT(bytes, elements);
                EXPECT_LT(bytes, elements * 2);
            } else if (type == KvType::q4_0) {
                EXPECT_GT(bytes * 2, elements);
                EXPECT_LT(bytes, backend::kv_groups(a.g, KvType::q8_0).page_bytes);
            } else {
                EXPECT_EQ(bytes, elements * (type == KvType::f32 ? 4 : 2));
            }
        }
    }
}

// With a rotation by nothing, what was moved is what would have been stored at its new position: a type's own numbers
// are stored again as they are.
TEST(KvPages, MovedPositionsAreStoredAgain) {
    const auto backend = backend::make_backend("cpu", "", 1);
    const kernels::KernelTable& ref = kernels::table_ref();
    for (const auto& dims : {std::pair{64u, 64u}, {33u, 47u}, {10u, 7u}})
        for (const KvType type : {KvType::f32, KvType::f16, KvType::q8_0, KvType::q4_0}) {
            const std::uint32_t k_dim = dims.first, v_dim = dims.second;
            constexpr std::uint32_t n = 128, from = 50, to = 3, count = 70, page = kernels::kPageTokens;
            const Matrix q(n, k_dim, 1), k(n, k_dim, 2), v(n, v_dim, 3);
            graph::Graph g;
            const std::uint32_t rope = g.add_rope({.inv_freq = std::vector<double>(k_dim / 2, 0.0)});
            g.set_logits(g.take_outputs(g.attention(g.embed(q.weight()), g.rope(g.embed(k.weight()), 1, rope),
                                                    g.embed(v.weight()), {1, 1, k_dim, v_dim}, {})));
            const auto kv = backend->make_kv(g, backend::kv_groups(g, type), type, 2);
            ASSERT_TRUE(kv->can_move());
            std::vector<std::vector<std::byte>> pages(2, std::vector<std::byte>(kv->page_bytes()));
            const auto store = [&](std::uint32_t row, std::uint32_t position) {
                ref.kv_store(pages[position / page].data(), static_cast<kernels::KvType>(type), k_dim, v_dim,
                             position % page, k.row(row), v.row(row));
            };
            for (std::uint32_t i = 0; i < n; ++i) store(i, i);
            for (std::uint32_t i = 0; i < 2; ++i) kv->write_page(1 - i, pages[i]);
            const std::uint32_t table[] = {1, 0};
            kv->move(table, from, to, count);
            for (std::uint32_t i = 0; i < count; ++i) store(from + i, to + i);
            for (std::uint32_t i = 0; i < 2; ++i) {
                std::vector<std::byte> got(kv->page_bytes());
                kv->read_page(1 - i, got);
                EXPECT_TRUE(got == pages[i]) << "page " << i << " type " << static_cast<int>(type) << " k_dim " << k_dim;
            }
        }
}

}  // namespace
}  // namespace tern::test
