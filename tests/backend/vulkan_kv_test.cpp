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

// A page of the CPU in the device's order (src/backend/vulkan/kv.h).
std::vector<std::uint32_t> as_on_device(const std::byte* page, KvType type, std::uint32_t k_dim,
                                        std::uint32_t v_dim) {
    const auto kind = type == KvType::f32    ? kernels::KvType::f32
                      : type == KvType::f16  ? kernels::KvType::f16
                      : type == KvType::q8_0 ? kernels::KvType::q8_0
                                             : kernels::KvType::q4_0;
    const kernels::KvLayout at = kernels::kv_layout(kind, k_dim, v_dim);
    const bool blocks = type == KvType::q8_0 || type == KvType::q4_0;
    const std::uint32_t in_word = type == KvType::f32    ? 1
                                  : type == KvType::f16  ? 2
                                  : type == KvType::q8_0 ? 4
                                                         : 8;
    const auto load = [&](std::size_t offset, std::size_t bytes) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, page + offset, bytes);
        return bits;
    };
    // The bits of a number, and of the scale of a block.
    const auto number = [&](bool value, std::uint32_t position, std::uint32_t d) -> std::uint32_t {
        const std::uint32_t dim = value ? v_dim : k_dim;
        if (d >= dim) return type == KvType::q4_0 ? 8 : 0;
        if (type == KvType::q4_0 && !value) return load(d / 2 * 64 + position, 1) >> (d % 2 * 4) & 15;
        if (type == KvType::q4_0) {
            const std::uint32_t low = d % 32 % 16;
            return load(at.v + position * at.v_row + d / 32 * 16 + low, 1) >> (d % 32 / 16 * 4) & 15;
        }
        const std::size_t bytes = 4 / in_word;
        return value ? load(at.v + (position * v_dim + d) * bytes, bytes)
                     : load((d * 64 + position) * bytes, bytes);
    };
    const auto scale = [&](bool value, std::uint32_t position, std::uint32_t b) -> std::uint32_t {
        const std::uint32_t count = ((value ? v_dim : k_dim) + 31) / 32;
        if (b >= count) return 0;
        return value ? load(at.v_scales + (position * count + b) * 2, 2)
                     : load(at.k_scales + (b * 64 + position) * 2, 2);
    };
    std::vector<std::uint32_t> words;
    for (const bool value : {false, true}) {
        const std::uint32_t dim = value ? v_dim : k_dim, w = (dim + in_word - 1) / in_word,
                            s = blocks ? (dim + 63) / 64 : 0;
        const auto push = [&](std::uint32_t count, auto&& word) {
            for (std::uint32_t i = 0; i < count * 64; ++i)
                words.push_back(value ? word(i / count, i % count) : word(i % 64, i / 64));
        };
        push(w, [&](std::uint32_t position, std::uint32_t at_word) {
            std::uint32_t bits = 0;
            for (std::uint32_t i = 0; i < in_word; ++i)
                bits |= number(value, position, at_word * in_word + i) << (i * (32 / in_word));
            return bits;
        });
        push(s, [&](std::uint32_t position, std::uint32_t at_word) {
            return scale(value, position, 2 * at_word) | scale(value, position, 2 * at_word + 1) << 16;
        });
    }
    return words;
}

// The device's memory gets what the CPU has stored; both move it, and hold the same bits.
TEST(VulkanKv, PositionsMoveAsOnTheCpu) {
    constexpr std::uint32_t kHeads = 2, kTokens = 300, kPages = 5;
    struct Shape {
        std::uint32_t k_dim, v_dim;
        kernels::RopeMode mode;
    };
    for (const Shape shape :
         {Shape{64, 64, kernels::RopeMode::adjacent}, Shape{80, 33, kernels::RopeMode::halves}})
        for (const KvType type : kTypes) {
            Matrix q(kTokens, kHeads * shape.k_dim, 1), k(kTokens, kHeads * shape.k_dim, 2),
                v(kTokens, kHeads * shape.v_dim, 3);
            for (std::uint32_t i = 0; i < kHeads * shape.k_dim; ++i) {
                k.data[7 * k.cols + i] = 0;
                k.data[8 * k.cols + i] *= 1e-9f;
                k.data[9 * k.cols + i] *= 1e9f;
            }
            graph::Graph g;
            std::vector<double> angles;
            for (std::uint32_t i = 0; i < 24; ++i)
                angles.push_back(std::pow(1000.0, -static_cast<double>(i) / 24));
            const std::uint32_t rope = g.add_rope({.inv_freq = angles, .factor = 1.1f, .mode = shape.mode});
            const graph::Value keys = g.rope(g.embed(k.weight()), kHeads, rope);
            g.set_logits(g.take_outputs(g.attention(g.embed(q.weight()), keys, g.embed(v.weight()),
                                                    {kHeads, kHeads, shape.k_dim, shape.v_dim}, {})));
            const backend::KvGroups groups = backend::kv_groups(g, type);
            backend::Backend& cpu = make_backend_of({});
            const auto on_cpu = cpu.make_kv(g, groups, type, kPages);
            const std::vector<std::uint32_t> table{3, 0, 4, 1, 2}, outputs{0};
            const std::vector<TokenId> tokens = first_tokens(kTokens);
            const backend::Segment segment{0, kTokens, 0, table};
            cpu.compile(g, {kTokens, 1, kTokens})->run({tokens, {&segment, 1}, outputs}, *on_cpu);
            const std::uint64_t head = on_cpu->page_bytes() / kHeads;
            const auto from_cpu = [&](std::uint32_t page) {
                std::vector<std::byte> bytes(on_cpu->page_bytes());
                on_cpu->read_page(page, bytes);
                std::vector<std::uint32_t> words;
                for (std::uint32_t h = 0; h < kHeads; ++h)
                    for (const std::uint32_t word :
                         as_on_device(bytes.data() + h * head, type, shape.k_dim, shape.v_dim))
                        words.push_back(word);
                return words;
            };
            for (const BackendSetup& setup : loose_setups()) {
                const auto there = make_backend_of(setup).make_kv(g, groups, type, kPages);
                for (std::uint32_t p = 0; p < kPages; ++p) {
                    const std::vector<std::uint32_t> words = from_cpu(p);
                    ASSERT_EQ(words.size() * 4, there->page_bytes());
                    there->write_page(p, std::as_bytes(std::span(words)));
                }
                const std::vector<std::uint32_t> before = from_cpu(table[0]);
                EXPECT_TRUE(there->can_move());
                // Within a page, and over their borders by more and by less than one.
                const std::uint32_t moves[][3] = {{20, 10, 30}, {150, 5, 140}, {130, 100, 150}};
                for (const auto& [from, to, count] : moves) {
                    on_cpu->move(table, from, to, count);
                    there->move(table, from, to, count);
                    for (std::uint32_t p = 0; p < kPages; ++p) {
                        std::vector<std::uint32_t> got(there->page_bytes() / 4);
                        there->read_page(p, std::as_writable_bytes(std::span(got)));
                        ASSERT_EQ(got, from_cpu(p))
                            << "type " << static_cast<int>(type) << ", page " << p << ", from " << from;
                    }
                }
                EXPECT_NE(before, from_cpu(table[0]));
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
