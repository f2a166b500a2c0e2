// Every kernel of the registry on one thread, beside the ceilings measured at the start of the same run, and beside
// OpenBLAS ("openblas" for the isa) where the build has it:
//   matmul/<format>/<isa>/<rows>x<k>/T<tokens>   attention/<isa>/<kv type>/<queries>q/<positions>
// Weights are read round and round through a buffer larger than the caches, as a model's are. T1 and T4 are bound by
// memory: see GB/s and of_read; T128 and T512 by arithmetic: see GOPS and of_peak (int8 dot products, or f32
// multiply-adds).
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#if TERN_HAVE_OPENBLAS
#include <cblas.h>
#endif

#include "bench/ceilings.h"
#include "kernels/formats/format.h"
#include "kernels/registry.h"

namespace {

using namespace tern;
using namespace tern::kernels;

struct Ceilings {
    double read = 0, int8 = 0, f32 = 0;
};

struct Aligned {
    explicit Aligned(std::size_t bytes)
        : data(static_cast<std::byte*>(::operator new(bytes + 64, std::align_val_t{64}))) {}
    ~Aligned() { ::operator delete(data, std::align_val_t{64}); }
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
    std::byte* data;
};

// One sane block, repeated: speed does not depend on the values, but denormals and NaN would distort it.
void fill(DType dtype, std::byte* data, std::size_t blocks) {
    const DTypeInfo& i = info(dtype);
    std::mt19937 random(1);
    std::vector<float> decoded(i.block);
    for (bool sane = false; !sane;) {
        for (std::size_t b = 0; b < i.block_bytes; ++b) data[b] = static_cast<std::byte>(random());
        format_ops(dtype).decode(data, decoded.data(), i.block);
        sane = true;
        for (const float x : decoded) sane &= std::isfinite(x) && std::abs(x) < 100 && (x == 0 || std::abs(x) > 1e-12f);
    }
    for (std::size_t b = 1; b < blocks; ++b) std::memcpy(data + b * i.block_bytes, data, i.block_bytes);
}

void matmul(benchmark::State& state, const KernelTable& table, DType dtype, std::size_t rows, std::size_t k,
            std::size_t tokens, const Ceilings& ceilings) {
    const MatmulKernel& kernel = table.matmul[static_cast<std::size_t>(dtype)];
    const std::size_t row = row_bytes(dtype, k);
    constexpr std::size_t kBeyondCaches = std::size_t{256} << 20;
    const std::size_t copies = std::max<std::size_t>(1, kBeyondCaches / (row * rows));
    const Aligned weights(row * rows * copies);
    fill(dtype, weights.data, row * rows * copies / info(dtype).block_bytes);

    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    std::vector<float> x(k * tokens), out(rows * tokens);
    for (float& v : x) v = normal(random);
    const Aligned acts((k + 255) / 256 * tokens * sizeof(ActBlock));
    const ActKind kind = act_kind(dtype);
    for (std::size_t t = 0; t < tokens && kind != ActKind::f32; ++t)
        (kind == ActKind::q8_256 ? table.quantize_q8_256 : table.quantize_q8_32)(
            x.data() + t * k, k, reinterpret_cast<ActBlock*>(acts.data) + t, tokens);
    const Aligned scratch(kernel.scratch_bytes ? kernel.scratch_bytes(k, tokens) : 0);
    std::size_t copy = 0;
    for (auto _ : state) {
        kernel.run({.w = weights.data + copy * row * rows,
                    .w_row_bytes = row,
                    .rows = rows,
                    .k = k,
                    .act = kind == ActKind::f32 ? static_cast<const void*>(x.data()) : acts.data,
                    .act_stride = kind == ActKind::f32 ? k : tokens,
                    .tokens = tokens,
                    .out = out.data(),
                    .out_stride = rows,
                    .scratch = scratch.data});
        benchmark::DoNotOptimize(out.data());
        copy = (copy + 1) % copies;
    }
    const double runs = static_cast<double>(state.iterations());
    const double bytes = runs * static_cast<double>(row * rows), ops = runs * 2.0 * static_cast<double>(rows * k * tokens);
    const double peak = kind == ActKind::f32 ? ceilings.f32 : ceilings.int8;
    using benchmark::Counter;
    state.counters["GB/s"] = Counter(bytes / 1e9, Counter::kIsRate);
    state.counters["GOPS"] = Counter(ops / 1e9, Counter::kIsRate);
    if (ceilings.read > 0) state.counters["of_read"] = Counter(bytes / 1e9 / ceilings.read, Counter::kIsRate);
    if (peak > 0) state.counters["of_peak"] = Counter(ops / 1e9 / peak, Counter::kIsRate);
}

#if TERN_HAVE_OPENBLAS
// The yardstick of F32 products, as a matrix product like any other: OpenBLAS on this thread.
void sgemm(const MatmulArgs& a) {
    const auto n = [](std::size_t size) { return static_cast<blasint>(size); };
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n(a.tokens), n(a.rows), n(a.k), 1.0f,
                static_cast<const float*>(a.act), n(a.act_stride), static_cast<const float*>(a.w), n(a.k), 0.0f, a.out,
                n(a.out_stride));
}
#endif

// One KV head of 64 dimensions, four query heads each.
void attention(benchmark::State& state, const KernelTable& table, KvType type, std::size_t queries, std::size_t positions,
               const Ceilings& ceilings) {
    constexpr std::size_t kDim = 64, kGroup = 4;
    const std::size_t rows = queries * kGroup, pages = positions / kPageTokens;
    const std::size_t page = kv_layout(type, kDim, kDim).bytes;
    constexpr std::size_t kBeyondCaches = std::size_t{128} << 20;
    const std::size_t copies = std::max<std::size_t>(1, kBeyondCaches / (page * pages));
    const Aligned kv(page * pages * copies);
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    std::vector<float> k(kDim), v(kDim), q(rows * kDim), o(rows * kDim), m(rows), l(rows);
    for (float& f : q) f = normal(random) * 0.1f;
    for (std::size_t p = 0; p < positions; ++p) {
        for (float& f : k) f = normal(random);
        for (float& f : v) f = normal(random);
        table.kv_store(kv.data + p / kPageTokens * page, type, kDim, kDim, p % kPageTokens, k.data(), v.data());
    }
    for (std::size_t c = 1; c < copies; ++c) std::memcpy(kv.data + c * page * pages, kv.data, page * pages);
    std::vector<const void*> table_of(pages);
    const std::vector<std::uint32_t> lo(rows, 0), hi(rows, static_cast<std::uint32_t>(positions));
    const Aligned scratch(attention_scratch_bytes(kDim, kDim));
    std::size_t copy = 0;
    for (auto _ : state) {
        for (std::size_t p = 0; p < pages; ++p) table_of[p] = kv.data + (copy * pages + p) * page;
        for (std::size_t chunk = 0; chunk < positions; chunk += kChunkTokens)
            table.attention({.pages = table_of.data(), .type = type, .k_dim = kDim, .v_dim = kDim, .chunk_begin = chunk,
                             .chunk_end = std::min(positions, chunk + kChunkTokens), .q = q.data(), .q_stride = kDim,
                             .rows = rows, .lo = lo.data(), .hi = hi.data(), .softcap = 0, .m = m.data(), .l = l.data(),
                             .o = o.data(), .o_stride = kDim, .scratch = scratch.data});
        benchmark::DoNotOptimize(o.data());
        copy = (copy + 1) % copies;
    }
    using benchmark::Counter;
    const double runs = static_cast<double>(state.iterations());
    const double bytes = runs * static_cast<double>(page * pages);
    const double ops = runs * 4.0 * static_cast<double>(rows * positions * kDim);
    state.counters["GB/s"] = Counter(bytes / 1e9, Counter::kIsRate);
    state.counters["GFLOPS"] = Counter(ops / 1e9, Counter::kIsRate);
    if (ceilings.read > 0) state.counters["of_read"] = Counter(bytes / 1e9 / ceilings.read, Counter::kIsRate);
    if (ceilings.f32 > 0) state.counters["of_peak"] = Counter(ops / 1e9 / ceilings.f32, Counter::kIsRate);
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    const CpuFeatures cpu = detect_cpu();
    static Ceilings ceilings;
    ceilings.read = bench::read_bandwidth(1, std::size_t{512} << 20);
    ceilings.int8 = bench::int8_peak(1).value_or(0);
    ceilings.f32 = bench::f32_peak(1).value_or(0);
    benchmark::AddCustomContext("cpu", cpu.name);
    benchmark::AddCustomContext("ceilings, one thread", fmt::format("read {:.1f} GB/s, int8 {:.0f} GOPS, f32 {:.0f} GFLOPS",
                                                                   ceilings.read, ceilings.int8, ceilings.f32));
    static std::vector<KernelSet> sets;
    const IsaList list = isas(cpu);
    sets.reserve(list.count);
    for (std::size_t i = 0; i < list.count; ++i)
        if (list.items[i].usable) sets.push_back(*select(cpu, list.items[i].name));
    const auto add_matmul = [](const KernelTable& table, const DTypeInfo& i, const char* isa) {
        for (const auto& [rows, k] : {std::pair<std::size_t, std::size_t>{1536, 2048}, {384, 8192}})
            for (const std::size_t tokens : {1, 4, 16, 128, 512}) {
                const DType dtype = i.dtype;
                const auto r = rows, c = k;
                benchmark::RegisterBenchmark(fmt::format("matmul/{}/{}/{}x{}/T{}", i.name, isa, r, c, tokens).c_str(),
                                             [&table, dtype, r, c, tokens](benchmark::State& state) {
                                                 matmul(state, table, dtype, r, c, tokens, ceilings);
                                             })
                    ->Unit(benchmark::kMicrosecond);
            }
    };
#if TERN_HAVE_OPENBLAS
    openblas_set_num_threads(1);
    benchmark::AddCustomContext("openblas", openblas_get_config());
    static KernelTable yardstick;
    yardstick.matmul[static_cast<std::size_t>(DType::F32)].run = sgemm;
    add_matmul(yardstick, info(DType::F32), "openblas");
#endif
    for (const KernelSet& set : sets) {
        for (const DTypeInfo& i : all_dtypes()) add_matmul(set.table, i, set.isa);
        for (const auto& [kv, kv_name] :
             {std::pair{KvType::f16, "f16"}, {KvType::f32, "f32"}, {KvType::q8_0, "q8_0"}, {KvType::q4_0, "q4_0"}})
            for (const std::size_t queries : {std::size_t{1}, std::size_t{32}})
                for (const std::size_t positions : {std::size_t{512}, std::size_t{4096}}) {
                    const KvType type = kv;
                    benchmark::RegisterBenchmark(
                        fmt::format("attention/{}/{}/{}q/{}", set.isa, kv_name, queries, positions).c_str(),
                        [&set, type, queries, positions](benchmark::State& state) {
                            attention(state, set.table, type, queries, positions, ceilings);
                        })
                        ->Unit(benchmark::kMicrosecond);
                }
    }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
