// Rows from outside come through unchanged, and the result's rows are those of its domain.
#include "backend/conformance.h"

namespace tern::test {
namespace {

using graph::Domain;
using graph::Graph;
using graph::Value;

std::vector<float> run(const BackendSetup& setup, const Graph& g, std::span<const float> input,
                       const std::vector<std::uint32_t>& outputs, std::uint32_t tokens) {
    backend::Backend& backend = make_backend_of(setup);
    const auto kv = backend.make_kv(g, backend::kv_groups(g, KvType::f32), KvType::f32, 1);
    const auto program = backend.compile(g, {tokens + 3, tokens + 3, 64});
    const std::vector<TokenId> ids = first_tokens(tokens);
    const std::vector<std::uint32_t> table{0};
    const backend::Segment segment{0, tokens, 0, table};
    std::vector<float> rows;
    // Twice: the second run must not see the first one's rows.
    for (int turn = 0; turn < 2; ++turn) {
        std::vector<float> given(input.begin(), input.end());
        if (turn == 0) std::fill(given.begin(), given.end(), 7.0f);
        const auto got = program->run({ids, std::span(&segment, 1), outputs, given}, *kv);
        rows.assign(got.begin(), got.end());
    }
    return rows;
}

std::vector<BackendSetup> setups() {
    std::vector<BackendSetup> all = all_setups();
    all.push_back({});
    for (const BackendSetup& s : loose_setups()) all.push_back(s);
    return all;
}

TEST(Input, ComesThrough) {
    for (const std::uint32_t tokens : {1u, 2u, 7u, 40u})
        for (const std::uint64_t cols : {1u, 5u, 64u, 300u}) {
            const Matrix x(tokens, cols, tokens + static_cast<unsigned>(cols));
            std::vector<float> expected = x.data;
            for (float& v : expected) v *= 2;
            for (const BackendSetup& setup : setups()) {
                Graph g;
                g.set_result(g.scale(g.input(cols), 2.0f));
                expect_same_bits(run(setup, g, x.data, {0}, tokens), expected, name_of(setup));
            }
            const std::vector<std::uint32_t> outputs = tokens > 2 ? std::vector{1u, tokens - 1} : std::vector{0u};
            std::vector<float> taken;
            for (const std::uint32_t row : outputs) taken.insert(taken.end(), x.row(row), x.row(row) + cols);
            for (const BackendSetup& setup : setups()) {
                Graph g;
                g.set_logits(g.take_outputs(g.input(cols)));
                expect_same_bits(run(setup, g, x.data, outputs, tokens), taken, name_of(setup));
                // Rows that are only of outputs.
                Graph of_outputs;
                of_outputs.set_logits(of_outputs.scale(of_outputs.input(cols, Domain::outputs), 1.0f));
                expect_same_bits(run(setup, of_outputs, taken, outputs, tokens), taken, name_of(setup));
            }
        }
}

}  // namespace
}  // namespace tern::test
