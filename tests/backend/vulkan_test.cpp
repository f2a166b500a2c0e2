// The Vulkan backend's devices, memory and failures. What it computes is tested with all backends.
#include <gtest/gtest.h>
#include <tern/tern.h>

#include <filesystem>
#include <fstream>

#include "backend/vulkan/backend.h"
#include "conformance.h"

#if TERN_TESTS_VULKAN

#include "backend/vulkan/kv.h"
#include "backend/vulkan/program.h"
#include "backend/vulkan/rates.h"

namespace tern::test {
namespace {

using backend::vulkan::Device;
using backend::vulkan::DeviceInfo;
using backend::vulkan::DeviceOptions;

class VulkanDevice : public testing::Test {
protected:
    void SetUp() override {
        if (!no_vulkan().empty()) GTEST_SKIP() << no_vulkan();
    }
    std::shared_ptr<Device> open(const std::string& cache = {}) {
        return Device::open({.name = vulkan_device(),
                             .cache_folder = cache,
                             .log = [this](bool warning, const std::string& text) {
                                 (warning ? warnings_ : notes_).push_back(text);
                             }});
    }
    std::vector<std::string> warnings_, notes_;
};

template <class Body>
Error error_of(Body&& body) {
    try {
        body();
    } catch (const Error& e) {
        return e;
    }
    ADD_FAILURE() << "no error";
    return Error(ErrorCode::internal, "");
}

DeviceInfo device(const char* name, bool software, std::uint64_t memory, const char* unusable = "") {
    DeviceInfo d;
    d.name = name;
    d.software = software;
    d.memory = memory;
    d.unusable = unusable;
    return d;
}

TEST(VulkanChoice, TheLargestMatrixThatMultipliesF16IntoF32InASubgroup) {
    using backend::vulkan::choose_matrix;
    using backend::vulkan::MatrixShape;
    constexpr auto f16 = VK_COMPONENT_TYPE_FLOAT16_KHR, f32 = VK_COMPONENT_TYPE_FLOAT32_KHR;
    const auto shape = [](std::uint32_t m, std::uint32_t n, std::uint32_t k, VkComponentTypeKHR ab,
                          VkComponentTypeKHR c, int scope = 3) {
        VkCooperativeMatrixPropertiesKHR p{};
        p.MSize = m;
        p.NSize = n;
        p.KSize = k;
        p.AType = p.BType = ab;
        p.CType = p.ResultType = c;
        p.scope = static_cast<VkScopeKHR>(scope);
        return p;
    };
    EXPECT_FALSE(choose_matrix({}));
    const VkCooperativeMatrixPropertiesKHR unfit[] = {
        shape(16, 16, 16, f16, f16), shape(16, 16, 16, f32, f32), shape(16, 16, 16, f16, f32, 2),
        shape(64, 16, 16, f16, f32), shape(16, 12, 16, f16, f32), shape(16, 16, 4, f16, f32)};
    EXPECT_FALSE(choose_matrix(unfit));
    const VkCooperativeMatrixPropertiesKHR some[] = {shape(16, 8, 8, f16, f32), shape(16, 8, 16, f16, f32),
                                                     shape(8, 16, 16, f16, f32), shape(32, 32, 32, f16, f16)};
    EXPECT_EQ(choose_matrix(some), (MatrixShape{16, 8, 16}));
}

TEST(VulkanChoice, TheLargestGraphicsProcessorAndSoftwareOnlyAlone) {
    using backend::vulkan::choose_device;
    EXPECT_EQ(choose_device({}), 0u);
    EXPECT_EQ(
        choose_device({device("llvmpipe", true, 64), device("small", false, 8), device("large", false, 24)}),
        2u);
    EXPECT_EQ(choose_device({device("llvmpipe", true, 64), device("old", false, 24, "too old"),
                             device("small", false, 8)}),
              2u);
    EXPECT_EQ(choose_device({device("llvmpipe", true, 64)}), 0u);
    EXPECT_EQ(choose_device({device("a", false, 8), device("b", false, 8)}), 0u);
    EXPECT_EQ(choose_device({device("old", false, 24, "too old")}), 1u);
}

TEST_F(VulkanDevice, UnknownNamesAreRefusedWithThoseThatThereAre) {
    for (const char* name : {"Voodoo 3", "99"}) {
        const Error e = error_of([&] { Device::open({.name = name, .cache_folder = {}, .log = {}}); });
        EXPECT_EQ(e.code(), ErrorCode::not_found);
        EXPECT_NE(std::string(e.what()).find(name), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("0: "), std::string::npos) << e.what();
    }
    EXPECT_EQ(
        error_of([] { backend::make_backend("vulkan", {.isa = "avx2", .device = vulkan_device()}); }).code(),
        ErrorCode::invalid_argument);
}

TEST_F(VulkanDevice, MemoryIsGivenBackAndUsedAgain) {
    const auto d = open();
    std::vector<backend::vulkan::Buffer> buffers;
    std::mt19937 random(1);
    std::uint64_t all = 0;
    for (int i = 0; i < 200; ++i) {
        const std::uint64_t bytes = 1 + random() % 100'000;
        buffers.push_back(d->allocate(bytes, backend::vulkan::Memory::device, "a test"));
        all += (bytes + 255) / 256 * 256;
    }
    EXPECT_EQ(d->allocated(), all);
    // None lies over another.
    std::vector<backend::vulkan::Range> ranges;
    for (const auto& b : buffers) ranges.push_back(b.range());
    for (std::size_t i = 0; i < ranges.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            EXPECT_FALSE(ranges[i].buffer == ranges[j].buffer &&
                         ranges[i].offset < ranges[j].offset + ranges[j].size &&
                         ranges[j].offset < ranges[i].offset + ranges[i].size);
    // Contents survive their neighbours.
    std::vector<std::byte> bytes(5000), back(5000);
    for (auto& b : bytes) b = static_cast<std::byte>(random());
    auto kept = d->allocate(5000, backend::vulkan::Memory::device, "a test");
    d->upload(kept, 0, bytes);
    buffers.clear();
    d->download(kept, 0, back);
    EXPECT_EQ(bytes, back);
    kept.reset();
    auto large = d->allocate(200 << 20, backend::vulkan::Memory::device, "a test");
    EXPECT_GE(d->allocated(), 200u << 20);
    large.reset();
    EXPECT_LT(d->allocated(), 20u << 20);  // what is left is the staging buffer
}

struct Small {
    Matrix x{8, 64, 1}, w{48, 64, 2};
    graph::Graph g;
    Small() { g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), w.weight()))); }
    std::vector<float> run(backend::Backend& backend) {
        const auto kv = backend.make_kv(g, backend::kv_groups(g, KvType::f32), KvType::f32, 1);
        const auto program = backend.compile(g, {8, 8, 8});
        return run(*program, *kv);
    }
    static std::vector<float> run(backend::Program& program, backend::KvMemory& kv) {
        const std::vector<TokenId> tokens = first_tokens(8);
        const std::uint32_t page = 0;
        const backend::Segment segment{0, 8, 0, {&page, 1}};
        const std::vector<std::uint32_t> outputs = {0, 7};
        const auto rows = program.run({tokens, {&segment, 1}, outputs}, kv);
        return {rows.begin(), rows.end()};
    }
};

TEST_F(VulkanDevice, TooLittleMemoryIsAnErrorWithTheNumbersAndLeavesNothing) {
    const auto d = open();
    const auto backend = backend::vulkan::make_vulkan_on(d);
    Small small;
    const std::vector<float> expected = small.run(*backend);
    const std::uint64_t before = d->allocated();
    // The graph needs some 20 allocations; each of them fails once.
    bool enough = false;
    for (std::uint64_t limit = before; !enough; limit += 256) {
        d->limit_memory(limit);
        try {
            EXPECT_EQ(small.run(*backend), expected);
            enough = true;
        } catch (const Error& e) {
            EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
            EXPECT_NE(std::string(e.what()).find("MiB"), std::string::npos) << e.what();
        }
        EXPECT_EQ(d->allocated(), before);
    }
    const Error e = error_of(
        [&] { (void)d->allocate(std::uint64_t{1} << 50, backend::vulkan::Memory::device, "a test"); });
    EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
}

TEST_F(VulkanDevice, ALostDeviceIsAnErrorAndNotTheEnd) {
    const auto d = open();
    const auto backend = backend::vulkan::make_vulkan_on(d);
    Small small;
    const auto kv = backend->make_kv(small.g, backend::kv_groups(small.g, KvType::f32), KvType::f32, 1);
    const auto program = backend->compile(small.g, {8, 8, 8});
    const std::vector<float> expected = Small::run(*program, *kv);
    d->inject(VK_ERROR_DEVICE_LOST);
    const Error e = error_of([&] { Small::run(*program, *kv); });
    EXPECT_EQ(e.code(), ErrorCode::device);
    EXPECT_NE(std::string(e.what()).find("VK_ERROR_DEVICE_LOST"), std::string::npos) << e.what();
    EXPECT_EQ(error_of([&] { kv->copy_page(0, 0); }).code(), ErrorCode::device);
    d->inject(VK_SUCCESS);
    EXPECT_EQ(Small::run(*program, *kv), expected);
}

TEST_F(VulkanDevice, ShadersThatDoNotCompileAreAnError) {
    const auto d = open();
    const auto backend = backend::vulkan::make_vulkan_on(d);
    Small small;
    d->refuse_shaders(true);
    const Error e = error_of([&] { small.run(*backend); });
    EXPECT_EQ(e.code(), ErrorCode::device);
    EXPECT_NE(std::string(e.what()).find("shader"), std::string::npos) << e.what();
    d->refuse_shaders(false);
    small.run(*backend);
}

TEST_F(VulkanDevice, AWrongPathIsNamedAndNotUsed) {
    const auto d = open();
    backend::vulkan::WeightStore weights(d);
    backend::vulkan::ProductPaths paths(d, weights);
    const auto first = paths.of(DType::Q8_0).few;
    EXPECT_TRUE(warnings_.empty());
    paths.distrust(first);
    EXPECT_EQ(paths.of(DType::Q8_0).few, first);  // was tried before
    EXPECT_NE(paths.of(DType::Q4_K).few, first);
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_NE(warnings_[0].find("Q4_K"), std::string::npos) << warnings_[0];
    paths.distrust(paths.of(DType::Q4_K).few);
    const Error e = error_of([&] { paths.of(DType::Q6_K); });
    EXPECT_EQ(e.code(), ErrorCode::device);
    EXPECT_NE(std::string(e.what()).find("Q6_K"), std::string::npos) << e.what();
}

// The self-test of each way to multiply, whichever the device takes by itself; product_paths_test.cpp has all formats.
TEST_F(VulkanDevice, EveryPathPassesItsSelfTest) {
    const auto d = open();
    for (const auto& path : backend::vulkan::all_product_paths()) {
        if (!backend::vulkan::lacks(path.path, d->info()).empty()) continue;
        backend::vulkan::WeightStore weights(d);
        backend::vulkan::ProductPaths paths(d, weights);
        paths.force(path.path);
        for (const DType dtype : {DType::F16, DType::Q8_0, DType::Q4_K})
            if (!path.integer_dot || kernels::act_kind(dtype) != kernels::ActKind::f32) {
                EXPECT_EQ(paths.of(dtype).many, path.path) << info(dtype).name;
            }
    }
}

TEST_F(VulkanDevice, HalfPrecisionIsOnlyForManyTokensAndWhereItIsAskedForAndRight) {
    using backend::vulkan::ProductPath;
    const auto d = open();
    if (!d->info().fp16) GTEST_SKIP() << d->info().name << " has no fp16 arithmetic";
    backend::vulkan::WeightStore weights(d);
    backend::vulkan::ProductPaths exact(d, weights), paths(d, weights);
    EXPECT_FALSE(exact.half());
    paths.prefer_half();
    EXPECT_TRUE(paths.half());
    const bool matrices = backend::vulkan::lacks(ProductPath::matrix, d->info()).empty();
    EXPECT_EQ(paths.of(DType::Q8_0).many, matrices ? ProductPath::matrix : ProductPath::half);
    EXPECT_EQ(paths.of(DType::Q8_0).few, exact.of(DType::Q8_0).few);
    EXPECT_FALSE(backend::vulkan::info_of(exact.of(DType::Q8_0).many).half);
    paths.distrust(ProductPath::matrix);
    paths.distrust(ProductPath::half);
    EXPECT_EQ(paths.of(DType::F16).many, exact.of(DType::F16).many);
    EXPECT_EQ(warnings_.size(), matrices ? 2u : 1u);
    EXPECT_FALSE(backend::vulkan::make_vulkan_on(d, {}, true)->exact_arithmetic());
    EXPECT_EQ(error_of([&] { backend::vulkan::make_vulkan_on(d, "buffers", true); }).code(), ErrorCode::invalid_argument);
}

TEST(VulkanChoice, WhatAPathLacksIsSaid) {
    using backend::vulkan::lacks, backend::vulkan::ProductPath;
    DeviceInfo d = device("a", false, 1);
    d.subgroup = 32;
    d.shared_bytes = 32768;
    EXPECT_EQ(lacks(ProductPath::tiles, d), "");
    EXPECT_NE(lacks(ProductPath::half, d).find("fp16"), std::string::npos);
    EXPECT_NE(lacks(ProductPath::matrix, d).find("fp16"), std::string::npos);
    d.fp16 = true;
    EXPECT_EQ(lacks(ProductPath::half, d), "");
    EXPECT_NE(lacks(ProductPath::matrix, d).find("cooperative"), std::string::npos);
    for (const auto& [m, n, k, subgroup] : {std::array{16u, 16u, 16u, 32u}, {16u, 16u, 16u, 64u}, {16u, 8u, 16u, 32u},
                                            {8u, 16u, 16u, 16u}, {8u, 8u, 8u, 8u}, {8u, 8u, 8u, 32u}}) {
        d.matrix = {m, n, k};
        d.subgroup = subgroup;
        EXPECT_EQ(lacks(ProductPath::matrix, d), "") << m << " " << n << " " << subgroup;
    }
    d.matrix = {8, 8, 8};
    d.subgroup = 64;
    EXPECT_NE(lacks(ProductPath::matrix, d).find("8x8x8"), std::string::npos);
    d.subgroup = 32;
    d.shared_bytes = 8192;
    EXPECT_NE(lacks(ProductPath::matrix, d), "");
}

// What docs/numerics.md promises of lavapipe; another device may have other arithmetic.
TEST_F(VulkanDevice, ArithmeticIsTheCpus) {
    const auto d = open();
    if (!d->info().software) GTEST_SKIP() << "not known of " << d->info().name;
    EXPECT_TRUE(d->info().arithmetic.exact) << d->info().arithmetic.why;
    EXPECT_TRUE(d->info().arithmetic.divides);
    EXPECT_TRUE(d->info().arithmetic.roots);
    EXPECT_TRUE(backend::vulkan::make_vulkan_on(d)->exact_arithmetic());
    bool said = false;
    for (const auto& device : backend::vulkan::vulkan_devices())
        for (const std::string& what : device.enabled) said |= what.find("the CPU's arithmetic") == 0;
    EXPECT_TRUE(said);
}

TEST_F(VulkanDevice, CompiledShadersAreKeptAndBrokenFilesPassedOver) {
    namespace fs = std::filesystem;
    const fs::path folder = fs::path(testing::TempDir()) / "tern-vulkan-cache" / "made";
    fs::remove_all(folder);
    Small small;
    const auto run = [&] { return small.run(*backend::vulkan::make_vulkan_on(open(folder.string()))); };
    const std::vector<float> expected = run();
    ASSERT_TRUE(fs::exists(folder));
    std::vector<fs::path> files(fs::directory_iterator(folder), {});
    ASSERT_EQ(files.size(), 1u);
    const auto size = fs::file_size(files[0]);
    EXPECT_EQ(run(), expected);
    fs::resize_file(files[0], size / 2);
    EXPECT_EQ(run(), expected);
    std::ofstream(files[0], std::ios::binary) << std::string(size, 'x');
    EXPECT_EQ(run(), expected);
    EXPECT_TRUE(warnings_.empty());
    // A folder that cannot be made is a warning.
    std::ofstream(folder.parent_path() / "file") << "x";
    EXPECT_EQ(small.run(*backend::vulkan::make_vulkan_on(open((folder.parent_path() / "file").string()))),
              expected);
    EXPECT_FALSE(warnings_.empty());
    fs::remove_all(folder.parent_path());
}

TEST_F(VulkanDevice, WhatDoesNotFitOneBindingIsSaid) {
    const auto d = open();
    const auto backend = backend::vulkan::make_vulkan_on(d);
    Small small;
    if (d->info().max_binding > 1u << 30) GTEST_SKIP() << "this device sees large buffers";
    const Error e = error_of([&] { backend->compile(small.g, {8, 1u << 24, 8}); });
    EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
    EXPECT_NE(std::string(e.what()).find("smaller batch"), std::string::npos) << e.what();
}

// What compile() refuses is known before, without memory, and named.
TEST_F(VulkanDevice, WhatCannotRunIsKnownBefore) {
    const auto d = open();
    const auto backend = backend::vulkan::make_vulkan_on(d);
    const auto refused = [&](const graph::Graph& g, const backend::Limits& limits, ErrorCode code,
                             std::initializer_list<const char*> parts) {
        const std::uint64_t before = d->allocated();
        const auto found = backend->obstacle(g, limits);
        ASSERT_TRUE(found.has_value());
        EXPECT_EQ(found->code, code);
        for (const char* part : parts) EXPECT_NE(found->text.find(part), std::string::npos) << found->text;
        EXPECT_EQ(error_of([&] { backend->compile(g, limits); }).what(), found->text);
        EXPECT_EQ(d->allocated(), before);
    };
    const auto of_experts = [](std::uint32_t experts, Matrix& x, Matrix& router) {
        graph::Graph g;
        const graph::Value in = g.embed(x.weight()),
                           routing = g.route(g.linear(in, router.weight()), {.used = 2});
        g.set_logits(g.take_outputs(g.combine_experts(
            g.linear_experts(g.gather_experts(in, routing), routing, router.weight(experts)), routing)));
        return g;
    };
    Matrix x(8, 32, 1), few(1024, 32, 2), many(1025, 32, 3);
    EXPECT_FALSE(backend->obstacle(of_experts(1024, x, few), {8, 8, 8}).has_value());
    refused(of_experts(1025, x, many), {8, 8, 8}, ErrorCode::unsupported, {"1025", "1024 experts", "cpu"});

    Small small;
    EXPECT_FALSE(backend->obstacle(small.g, {8, 8, 8}).has_value());
    const std::vector<float> expected = small.run(*backend);
    const std::uint64_t sees = d->info().max_binding;
    d->limit_binding(32 * 64 * 4);  // one group of rows
    EXPECT_FALSE(backend->obstacle(small.g, {8, 8, 8}).has_value());
    EXPECT_EQ(small.run(*backend), expected);  // in two pieces
    // 64 columns of 4 bytes for each of 33 tokens.
    refused(small.g, {33, 8, 8}, ErrorCode::out_of_memory, {"batch", "at most 32 tokens"});
    EXPECT_FALSE(backend->obstacle(small.g, {32, 8, 8}).has_value());
    refused(small.g, {16, 1, 1u << 16}, ErrorCode::out_of_memory, {"page tables", "shorter context"});
    d->limit_binding(32 * 64 * 4);
    // 32 rows of 64 numbers are as much, and those of the product are alive at the same time.
    d->limit_allocation(32 * 64 * 4);
    EXPECT_FALSE(backend->obstacle(small.g, {8, 8, 8}).has_value());
    refused(small.g, {32, 32, 32}, ErrorCode::out_of_memory, {"one allocation", "smaller batch"});
    d->limit_allocation(1u << 30);
    d->limit_binding(32 * 64 * 4 - 1);
    refused(small.g, {8, 8, 8}, ErrorCode::unsupported, {"'test'", "cut into pieces"});
    d->limit_binding(sees);
    EXPECT_FALSE(backend->obstacle(small.g, {33, 8, 8}).has_value());
}

TEST_F(VulkanDevice, PagesOfALayerFitOneBinding) {
    const auto d = open();
    const auto backend = backend::vulkan::make_vulkan_on(d);
    Matrix q(4, 64, 1);
    graph::Graph g;
    const graph::Value x = g.embed(q.weight());
    g.set_logits(g.take_outputs(g.attention(x, x, x, {2, 2, 32, 32}, {})));
    const backend::KvGroups groups = backend::kv_groups(g, KvType::f16);
    constexpr std::uint64_t kPage = 64 * 2 * 64 * 2;
    d->limit_binding(5 * kPage + 100);
    const backend::PageLimit limit = backend->page_limit(g, groups, KvType::f16);
    EXPECT_EQ(limit.pages, 5u);
    EXPECT_EQ(backend->page_limit(g, backend::kv_groups(g, KvType::f32), KvType::f32).pages, 2u);
    EXPECT_EQ(backend->make_kv(g, groups, KvType::f16, 5)->pages(), 5u);
    const std::uint64_t before = d->allocated();
    const Error e = error_of([&] { backend->make_kv(g, groups, KvType::f16, 6); });
    EXPECT_EQ(e.code(), ErrorCode::out_of_memory);
    EXPECT_NE(std::string(e.what()).find(limit.why), std::string::npos) << e.what();
    EXPECT_EQ(d->allocated(), before);
}

// Weights larger than a binding lie in several pieces.
TEST_F(VulkanDevice, LargeWeightsAreCutIntoPieces) {
    const auto d = open();
    if (d->info().max_binding > 1u << 28) GTEST_SKIP() << "this device sees large buffers";
    const std::uint64_t cols = 2048, rows = d->info().max_binding / (cols * 4) * 3 / 2 + 5;
    Matrix x(1, cols, 1);
    std::vector<float> w(rows * cols);
    for (std::uint64_t r = 0; r < rows; ++r) w[r * cols + r % cols] = static_cast<float>(r % 1000 + 1);
    graph::Graph g;
    const graph::Weight weight{
        .data = w.data(), .dtype = DType::F32, .cols = cols, .rows = rows, .name = "w"};
    g.set_logits(g.take_outputs(g.linear(g.embed(x.weight()), weight)));
    const auto backend = backend::vulkan::make_vulkan_on(d);
    const auto kv = backend->make_kv(g, backend::kv_groups(g, KvType::f32), KvType::f32, 1);
    const auto program = backend->compile(g, {1, 1, 1});
    const TokenId token = 0;
    const std::uint32_t page = 0, output = 0;
    const backend::Segment segment{0, 1, 0, {&page, 1}};
    const auto got = program->run({{&token, 1}, {&segment, 1}, {&output, 1}}, *kv);
    ASSERT_EQ(got.size(), rows);
    for (std::uint64_t r = 0; r < rows; ++r)
        ASSERT_EQ(got[r], x.data[r % cols] * static_cast<float>(r % 1000 + 1)) << "row " << r;
}

// All numbers are integers that f16 and f32 hold exactly, so the order of additions is free.
TEST_F(VulkanDevice, CooperativeMatricesMultiplyExactly) {
    const auto device = open();
    const auto [m, n, k] = device->info().matrix;
    if (m == 0) GTEST_SKIP() << "no cooperative matrices here";
    const std::uint32_t times = 3, subgroups = 64 / device->info().subgroup;
    std::vector<double> expected(64);
    for (std::uint32_t r = 0; r < m; ++r)
        for (std::uint32_t c = 0; c < n; ++c) {
            double dot = 0;
            for (std::uint32_t i = 0; i < k; ++i)
                dot += (static_cast<int>((r * k + i) * 7 % 17) - 8) *
                       (static_cast<int>((c * k + i) * 5 % 13) - 6);
            for (std::uint32_t s = 0; s < subgroups; ++s)
                expected[(s * m * n + r * n + c) % 64] += 28 + 8 * times * dot;  // 28: 0 + 1 + … + 7
        }
    const std::vector<float> y = backend::vulkan::run_rate_matrix(*device, times);
    for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(static_cast<double>(y[i]), expected[i]) << i;
    EXPECT_GT(backend::vulkan::measure_rates(*device).matrix_gops, 0);
}

}  // namespace
}  // namespace tern::test
#endif
