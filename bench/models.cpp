// Whole models through the public API, beside the ceilings measured at the start of the same run:
//   <shape>/<format>/prefill<tokens>[/depth<positions>]   <shape>/<format>/decode[/depth<positions>][/x<sequences>]
// Weights are random. tokens/s counts all sequences; GB/s the weights and the cache that a step must read, GOPS the matrix
// products. of_read and of_peak are their shares of the ceilings (int8 dot products, or f32 multiply-adds); models that
// fit into caches exceed the read ceiling, which is that of memory.
//
// Without --benchmark_filter only the small shapes run, about a minute. --threads=N: as tern -t.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <tern/tern.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/ceilings.h"
#include "bench/cost.h"

namespace {

using namespace tern;

struct Ceilings {
    double read = 0, int8 = 0, f32 = 0;
};

// The model and the session of the benchmark before, which often are the next one's too: weights take seconds to make.
struct Bench {
    const Runtime runtime;
    Ceilings ceilings;
    std::string name;
    std::optional<Model> model;
    std::optional<Session> session;
    std::uint32_t context = 0, sequences = 0;

    const Model& load(const std::string& shape, const std::string& format) {
        const std::string wanted = shape + "/" + format;
        if (name != wanted) {
            session.reset();
            model.reset();
            model = Model::random(runtime, {.shape = shape, .format = format});
            name = wanted;
        }
        return *model;
    }
    Session& open(std::uint32_t positions, std::uint32_t sequence_count) {
        if (!session || context != positions || sequences != sequence_count) {
            session.reset();
            session.emplace(*model, SessionOptions{.context = positions, .sequences = sequence_count});
            context = positions;
            sequences = sequence_count;
        }
        for (std::uint32_t s = 0; s < sequences; ++s) session->truncate(s, 0);
        return *session;
    }
};

struct Case {
    const char* shape;
    const char* format;
    std::uint32_t prompt;     // 0: decode
    std::uint32_t depth;      // positions before
    std::uint32_t sequences;  // at once

    std::string name() const {
        std::string out = fmt::format("{}/{}/{}", shape, format, prompt ? fmt::format("prefill{}", prompt) : "decode");
        if (depth > 0) out += fmt::format("/depth{}", depth);
        if (sequences > 1) out += fmt::format("/x{}", sequences);
        return out;
    }
};

// Tokens after which decode starts anew, so that the depth stays near what the name says.
constexpr std::uint32_t kDecode = 32;

void run(benchmark::State& state, Bench& bench, const Case& c) try {
    const Model& model = bench.load(c.shape, c.format);
    const ModelInfo& info = model.info();
    Session& session = bench.open(c.depth + std::max(c.prompt, kDecode), c.sequences);
    std::vector<TokenId> tokens(c.depth + std::max(c.prompt, kDecode));
    std::uint64_t random = 1;  // any ids will do; Knuth's MMIX generator
    for (TokenId& id : tokens) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        id = static_cast<TokenId>((random >> 33) % info.vocab_size);
    }
    std::vector<Append> items(c.sequences);
    const auto eval = [&](std::uint32_t position, std::uint32_t count) {
        for (std::uint32_t s = 0; s < c.sequences; ++s)
            items[s] = {.sequence = s, .tokens = std::span(tokens).subspan(position, count)};
        benchmark::DoNotOptimize(session.eval(items).data());
    };
    const auto rewind = [&] {
        for (std::uint32_t s = 0; s < c.sequences; ++s) session.truncate(s, c.depth);
    };
    if (c.depth > 0) eval(0, c.depth);
    eval(c.depth, c.prompt ? c.prompt : 1);  // touches what is touched for the first time
    rewind();

    bench::Cost cost;
    std::uint32_t done = 0;
    for (auto _ : state) {
        if (c.prompt) {
            eval(c.depth, c.prompt);
            rewind();
            cost += bench::prompt_cost(info, c.prompt, c.sequences, SessionOptions{}.batch, KvType::f16);
            continue;
        }
        eval(c.depth + done, 1);
        ++done;
        const double sequences = c.sequences;
        cost += bench::step_cost(info, sequences, sequences, sequences * (c.depth + done), KvType::f16);
        if (done == kDecode) {
            rewind();
            done = 0;
        }
    }
    const std::optional<DType> dtype = dtype_from_name(info.format);
    const bool floats = dtype && tern::info(*dtype).block == 1;
    const double peak = floats ? bench.ceilings.f32 : bench.ceilings.int8;
    using benchmark::Counter;
    const double count = static_cast<double>(state.iterations()) * std::max(c.prompt, 1u) * c.sequences;
    state.counters["tokens/s"] = Counter(count, Counter::kIsRate);
    state.counters["GB/s"] = Counter(cost.bytes / 1e9, Counter::kIsRate);
    state.counters["GOPS"] = Counter(cost.operations / 1e9, Counter::kIsRate);
    if (bench.ceilings.read > 0) state.counters["of_read"] = Counter(cost.bytes / 1e9 / bench.ceilings.read, Counter::kIsRate);
    if (peak > 0) state.counters["of_peak"] = Counter(cost.operations / 1e9 / peak, Counter::kIsRate);
} catch (const Error& e) {
    bench.name.clear();
    state.SkipWithError(e.what());
}

// Takes --threads=N out of the arguments. 0: all; nothing: not a number.
std::optional<unsigned> take_threads(int& argc, char** argv) {
    constexpr std::string_view kOption = "--threads=";
    unsigned threads = 0;
    int kept = 0;
    for (int i = 0; i < argc; ++i) {
        const std::string_view arg = argv[i];
        if (!arg.starts_with(kOption)) {
            argv[kept++] = argv[i];
            continue;
        }
        const std::string_view number = arg.substr(kOption.size());
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), threads);
        if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
    }
    argc = kept;
    return threads;
}

std::vector<Case> cases() {
    std::vector<Case> out;
    const auto add = [&](const char* shape, const char* format, std::initializer_list<std::uint32_t> depths,
                         std::initializer_list<std::uint32_t> sequences, std::uint32_t prompt) {
        for (const std::uint32_t depth : depths) {
            out.push_back({shape, format, prompt, depth, 1});
            out.push_back({shape, format, 0, depth, 1});
        }
        for (const std::uint32_t n : sequences) out.push_back({shape, format, 0, 0, n});
    };
    add("stories260k", "F32", {0, 256}, {4, 16}, 128);
    for (const char* format : {"F32", "F16", "BF16", "Q4_0", "Q8_0", "Q4_K_M", "Q6_K"})
        add("tiny-110m", format, {0}, {}, 128);
    out.push_back({"tiny-110m", "Q4_K_M", 128, 1024, 1});
    out.push_back({"tiny-110m", "Q4_K_M", 0, 1024, 1});
    for (const std::uint32_t n : {2u, 4u, 8u, 16u}) out.push_back({"tiny-110m", "Q4_K_M", 0, 0, n});
    for (const DTypeInfo& i : all_dtypes())
        if (i.dtype != DType::Q8_K) add("llama-3.2-1b", i.name, {0}, {}, 512);
    for (const char* format : {"Q3_K_M", "Q4_K_S", "Q5_K_M"}) add("llama-3.2-1b", format, {0}, {}, 512);
    add("llama-3.2-1b", "Q4_K_M", {0, 1024, 4096, 8192}, {2, 4, 8, 16}, 512);
    add("llama-3.1-8b", "Q4_K_M", {0, 4096}, {4}, 512);
    add("moe-32x", "MXFP4_MOE", {0, 4096}, {4, 16}, 512);
    return out;
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::string_view kSmall = "^(stories260k|tiny-110m)/";
    bool chosen = false;
    for (int i = 1; i < argc; ++i) chosen |= std::string_view(argv[i]).starts_with("--benchmark_filter") ||
                                             std::string_view(argv[i]).starts_with("--benchmark_list_tests");
    const std::optional<unsigned> threads = take_threads(argc, argv);
    if (!threads) {
        fmt::print(stderr, "bench_models: --threads=N wants a number\n");
        return 2;
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    static Bench bench{.runtime = Runtime({.threads = *threads}), .ceilings = {}, .name = {}, .model = {}, .session = {}};
    const unsigned n = bench.runtime.threads();
    bench.ceilings = {bench::read_bandwidth(n, 512 * MiB), bench::int8_peak(n).value_or(0), bench::f32_peak(n).value_or(0)};
    benchmark::AddCustomContext("cpu", bench.runtime.cpu_name());
    benchmark::AddCustomContext(
        fmt::format("ceilings, {} thread{}", n, n == 1 ? "" : "s"),
        fmt::format("read {:.1f} GB/s, int8 {:.0f} GOPS, f32 {:.0f} GFLOPS", bench.ceilings.read, bench.ceilings.int8,
                    bench.ceilings.f32));
    for (const Case& c : cases())
        benchmark::RegisterBenchmark(c.name().c_str(), [c](benchmark::State& state) { run(state, bench, c); })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
    if (chosen)
        benchmark::RunSpecifiedBenchmarks();
    else
        benchmark::RunSpecifiedBenchmarks(nullptr, nullptr, std::string(kSmall));
    benchmark::Shutdown();
    return 0;
}
