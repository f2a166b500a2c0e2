// Runs one small graph on every backend, instruction set and thread count. Backends that promise bits must equal the
// reference backend by memcmp; the reference backend is held against an exact computation in the tests.
#pragma once

#include <gtest/gtest.h>

#include <tern/error.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/interface.h"
#include "graph/graph.h"
#include "kernels/registry.h"
#include "tests/support/sanitizer.h"
#include "tests/support/vulkan.h"

namespace tern::test {

// A matrix of random floats that lives as long as the test, usable as a weight.
struct Matrix {
    std::uint64_t rows, cols;
    std::vector<float> data;
    std::string name = "test";

    Matrix(std::uint64_t r, std::uint64_t c, unsigned seed, float scale = 1.0f) : rows(r), cols(c), data(r * c) {
        std::mt19937 random(seed);
        std::normal_distribution<float> normal(0.0f, scale);
        for (float& x : data) x = normal(random);
    }
    graph::Weight weight(std::uint64_t slabs = 1) const {
        return {.data = data.data(), .dtype = DType::F32, .cols = cols, .rows = rows / slabs, .slabs = slabs, .name = name};
    }
    const float* row(std::uint64_t r) const { return data.data() + r * cols; }
};

// Token t reads row t of an embedding table: the way any input gets into a graph.
inline std::vector<TokenId> first_tokens(std::size_t n) {
    std::vector<TokenId> tokens(n);
    for (std::size_t i = 0; i < n; ++i) tokens[i] = static_cast<TokenId>(i);
    return tokens;
}

struct Sequence {
    std::uint32_t count;
    std::uint32_t position = 0;
};

struct BackendSetup {
    std::string backend = "ref", isa;
    unsigned threads = 1;
    std::string device = {};
};

// Devices are slow to open, so each setup's backend lives as long as the tests, but not as long as the libraries that drivers
// load.
inline std::map<std::string, std::unique_ptr<backend::Backend>>& kept_backends() {
    static std::map<std::string, std::unique_ptr<backend::Backend>> kept;
    return kept;
}
class KeptBackends : public testing::Environment {
public:
    void TearDown() override { kept_backends().clear(); }
};
inline const testing::Environment* const kKeptBackends = testing::AddGlobalTestEnvironment(new KeptBackends);
inline backend::Backend& make_backend_of(const BackendSetup& setup) {
    std::unique_ptr<backend::Backend>& backend =
        kept_backends()[setup.backend + "|" + setup.isa + "|" + std::to_string(setup.threads) + "|" + setup.device];
    if (!backend)
        backend = backend::make_backend(setup.backend, {.isa = setup.isa, .threads = setup.threads, .device = setup.device,
                                                        .cache_folder = {}, .log = {}});
    return *backend;
}

inline std::vector<BackendSetup> all_setups() {
    std::vector<BackendSetup> setups;
    const kernels::IsaList list = kernels::isas(kernels::detect_cpu());
    const std::vector<unsigned> thread_counts = kSanitized ? std::vector{1u, 3u} : std::vector{1u, 2u, 5u};
    for (std::size_t i = 0; i < list.count; ++i)
        if (list.items[i].usable)
            for (const unsigned threads : thread_counts) setups.push_back({"cpu", list.items[i].name, threads});
    return setups;
}

// Backends whose matrix products of many tokens are within a tolerance. All else gives the reference's bits.
inline std::vector<BackendSetup> near_setups() {
    if (!TERN_HAVE_OPENBLAS) return {};
    return {{"blas", "", 1}, {"blas", "", 3}};
}
// Backends whose matrix products and attention are within a tolerance, and all else where the device's
// arithmetic is not the CPU's. The Vulkan device is Mesa's lavapipe, or what TERN_TEST_VULKAN_DEVICE names.
inline std::vector<BackendSetup> loose_setups() {
    static const bool there = [] {
        // Sanitizers see nothing of what a driver computes; tests of the backend itself run with them.
        if (!TERN_TESTS_VULKAN || kSanitized) return false;
        try {
            make_backend_of({"vulkan", "", 1, vulkan_device()});
            return true;
        } catch (const Error& e) {
            std::cout << "backend vulkan is not tested here: " << e.what() << "\n";
        }
        return false;
    }();
    if (!there) return {};
    return {{"vulkan", "", 1, vulkan_device()}};
}
// The same device with each of these ways of multiplying, whichever it takes by itself; without those that it lacks.
inline std::vector<BackendSetup> setups_by(std::initializer_list<const char*> isas) {
    std::vector<BackendSetup> setups;
    for (const BackendSetup& loose : loose_setups())
        for (const char* isa : isas) {
            BackendSetup setup = loose;
            setup.isa = isa;
            try {
                make_backend_of(setup);
                setups.push_back(setup);
            } catch (const Error& e) {
                if (e.code() != ErrorCode::unsupported) throw;
                std::cout << isa << " is not tested here: " << e.what() << "\n";
            }
        }
    return setups;
}
inline std::vector<BackendSetup> product_setups() {
    return setups_by({"buffers", "texels", "dots", "tiles", "tile-dots"});
}
// From this many tokens on a product may differ.
inline constexpr std::uint32_t kNearTokens = 32;

inline std::string name_of(const BackendSetup& setup) {
    return setup.backend + " " + setup.isa + " x" + std::to_string(setup.threads);
}

// Logits of every token (or of `outputs`) for consecutive batches over one KV cache; pages are given out in a
// scattered order.
inline std::vector<float> run_graph(backend::Backend& on, const graph::Graph& g, const std::vector<std::vector<Sequence>>& steps,
                                    KvType kv_type = KvType::f32, const std::vector<std::uint32_t>* outputs = nullptr) {
    backend::Backend* const backend = &on;
    std::uint32_t most = 0, sequences = 0, longest = 0;
    for (const auto& step : steps) {
        std::uint32_t n = 0;
        for (const Sequence& s : step) {
            n += s.count;
            longest = std::max(longest, s.position + s.count);
        }
        most = std::max(most, n);
        sequences = std::max(sequences, static_cast<std::uint32_t>(step.size()));
    }
    const std::uint32_t pages_each = longest / kernels::kPageTokens + 1;
    const auto kv = backend->make_kv(g, backend::kv_groups(g, kv_type), kv_type, pages_each * sequences);
    const auto program = backend->compile(g, {most, most, longest});
    std::vector<std::vector<std::uint32_t>> tables(sequences);
    for (std::uint32_t s = 0; s < sequences; ++s)
        for (std::uint32_t p = 0; p < pages_each; ++p) tables[s].push_back((pages_each - 1 - p) * sequences + s);
    std::vector<float> all;
    TokenId next = 0;
    for (const auto& step : steps) {
        std::vector<TokenId> tokens;
        std::vector<backend::Segment> segments;
        for (std::size_t s = 0; s < step.size(); ++s) {
            if (step[s].count == 0) continue;
            segments.push_back({static_cast<std::uint32_t>(tokens.size()), step[s].count, step[s].position, tables[s]});
            for (std::uint32_t i = 0; i < step[s].count; ++i) tokens.push_back(next++);
        }
        std::vector<std::uint32_t> every;
        for (std::uint32_t i = 0; i < tokens.size(); ++i) every.push_back(i);
        const auto rows = program->run({tokens, segments, outputs ? *outputs : every}, *kv);
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

inline std::vector<float> run_graph(const BackendSetup& setup, const graph::Graph& g,
                                    const std::vector<std::vector<Sequence>>& steps, KvType kv_type = KvType::f32,
                                    const std::vector<std::uint32_t>* outputs = nullptr) {
    return run_graph(make_backend_of(setup), g, steps, kv_type, outputs);
}

inline void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b, const std::string& what) {
    ASSERT_EQ(a.size(), b.size()) << what;
    for (std::size_t i = 0; i < a.size(); ++i)
        ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0) << what << " at " << i << ": " << a[i] << " and " << b[i];
}

// Within the rounding errors of f32 sums in another order and of other polynomials: NMSE below 1e-11 is an error of some
// 3e-6 of a result's size, about 50 times f32's unit.
inline void expect_close(const std::vector<float>& got, const std::vector<float>& expected, const std::string& what) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    double error = 0, size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double difference = static_cast<double>(got[i]) - expected[i];
        ASSERT_TRUE(std::isfinite(got[i])) << what << " at " << i;
        error += difference * difference;
        size += static_cast<double>(expected[i]) * expected[i];
    }
    EXPECT_LE(error, 1e-11 * size) << what;
}

// The same bits, but that any NaN equals any NaN, and, for a device that flushes them, a zero a number below
// 2^-126.
inline bool same_number(float got, float expected, bool subnormals = true) {
    if (std::memcmp(&got, &expected, sizeof got) == 0 || (std::isnan(got) && std::isnan(expected)))
        return true;
    return !subnormals && std::fpclassify(expected) == FP_SUBNORMAL && got == 0;
}

// The reference's bits, as far as the device has them.
inline void expect_bits(const BackendSetup& setup, const std::vector<float>& got,
                        const std::vector<float>& expected) {
    ASSERT_EQ(got.size(), expected.size()) << name_of(setup);
    const bool subnormals = make_backend_of(setup).exact_subnormals();
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_TRUE(same_number(got[i], expected[i], subnormals))
            << name_of(setup) << " at " << i << ": " << got[i] << " instead of " << expected[i];
}

// What a device makes of the graph: the reference's bits, or what is close where its arithmetic has not
// these.
inline void expect_as_device(const BackendSetup& setup, const std::vector<float>& got,
                             const std::vector<float>& expected) {
    if (make_backend_of(setup).exact_arithmetic())
        expect_bits(setup, got, expected);
    else
        expect_close(got, expected, name_of(setup));
}

// Of graphs whose results are not all finite: on devices whose arithmetic is exact.
inline void conform_on_devices(const graph::Graph& g, const std::vector<std::vector<Sequence>>& steps,
                               KvType kv_type = KvType::f32) {
    const std::vector<float> expected = run_graph({}, g, steps, kv_type);
    for (const BackendSetup& setup : loose_setups())
        if (make_backend_of(setup).exact_arithmetic())
            expect_bits(setup, run_graph(setup, g, steps, kv_type), expected);
}

// Every backend gives the reference's bits for the graph; those with a tolerance do where it has no matrix
// product or few tokens, and devices whose arithmetic is exact. Returns the reference's result.
// Without `devices` those are left out: compiling attention for a software device takes seconds.
inline std::vector<float> conform(const graph::Graph& g, const std::vector<std::vector<Sequence>>& steps,
                                  KvType kv_type = KvType::f32, bool devices = true) {
    const std::vector<float> expected = run_graph({}, g, steps, kv_type);
    for (const BackendSetup& setup : all_setups())
        expect_same_bits(run_graph(setup, g, steps, kv_type), expected, name_of(setup));
    bool products = false, many = false;
    for (const graph::Op& op : g.ops())
        products |= op.kind == graph::OpKind::linear || op.kind == graph::OpKind::linear_experts;
    for (const auto& step : steps) {
        std::uint32_t tokens = 0;
        for (const Sequence& s : step) tokens += s.count;
        many |= tokens >= kNearTokens;
    }
    if (!products || !many)
        for (const BackendSetup& setup : near_setups())
            expect_same_bits(run_graph(setup, g, steps, kv_type), expected, name_of(setup));
    if (devices)
        for (const BackendSetup& setup : loose_setups())
            expect_as_device(setup, run_graph(setup, g, steps, kv_type), expected);
    return expected;
}

// |x - exact| <= units · 2^-24 · magnitude, the rounding errors a computation of `units` roundings may add up to.
inline void expect_near(float x, double exact, double magnitude, double units) {
    EXPECT_LE(std::abs(static_cast<double>(x) - exact), units * 0x1p-24 * magnitude + 0x1p-140)
        << x << " instead of " << exact;
}

}  // namespace tern::test
