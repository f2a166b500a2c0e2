// tern bench: tokens per second of a whole model, beside what the machine could do at most.
#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "bench/ceilings.h"
#include "bench/cost.h"
#include "common.h"

namespace tern::cli {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
    std::string model;
    std::string shape;
    std::string format = "Q4_K_M";
    RuntimeArgs runtime;
    std::uint32_t prompt = 512;
    std::uint32_t generate = 64;
    std::uint32_t depth = 0;
    std::uint32_t batch = 1;
    std::uint32_t repeats = 3;
    KvType kv_type = KvType::f16;
    bool json = false;
};

struct Result {
    std::string test;
    double tokens_per_second = 0;
    double gb_per_second = 0;
    double gops = 0;
};

struct Ceilings {
    double read = 0;  // GB/s
    std::optional<double> compute;  // GOPS of the kind that the model's format needs

    // The machine's speed drifts, so it is measured before and after; the best counts.
    void measure(unsigned threads, std::uint64_t model_bytes, bool quantised) {
        const std::uint64_t bytes = std::clamp<std::uint64_t>(model_bytes, 512 * MiB, 2 * GiB);
        read = std::max(read, bench::read_bandwidth(threads, bytes));
        const std::optional<double> peak = quantised ? bench::int8_peak(threads) : bench::f32_peak(threads);
        if (peak) compute = std::max(compute.value_or(0), *peak);
    }
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

class Bench {
public:
    Bench(const Model& model, const BenchOptions& options)
        : options_(options),
          info_(model.info()),
          session_(open_on<Session>(
              model, SessionOptions{.context = options.depth + std::max(options.prompt, options.generate),
                                    .sequences = options.batch,
                                    .kv_type = options.kv_type})) {
        tokens_.resize(options.depth + std::max(options.prompt, options.generate));
        std::uint64_t state = 1;  // any ids will do; Knuth's MMIX generator
        for (TokenId& id : tokens_) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            id = static_cast<TokenId>((state >> 33) % info_.vocab_size);
        }
        if (options.depth > 0) eval(0, options.depth);
    }

    Result prompt() {
        const double seconds = measure([&] { eval(options_.depth, options_.prompt); });
        return result("pp", options_.prompt, seconds,
                      bench::prompt_cost(info_, options_.prompt, options_.batch, SessionOptions{}.batch, options_.kv_type));
    }

    Result generate() {
        const double seconds = measure([&] {
            for (std::uint32_t i = 0; i < options_.generate; ++i) eval(options_.depth + i, 1);
        });
        bench::Cost cost;
        for (std::uint32_t i = 1; i <= options_.generate; ++i) {
            const double sequences = options_.batch;
            cost += bench::step_cost(info_, sequences, sequences, sequences * (options_.depth + i), options_.kv_type);
        }
        return result("tg", options_.generate, seconds, cost);
    }

private:
    // `count` tokens of every sequence, from `position`.
    void eval(std::uint32_t position, std::uint32_t count) {
        appends_.clear();
        for (std::uint32_t i = 0; i < options_.batch; ++i)
            appends_.push_back({.sequence = i, .tokens = std::span(tokens_).subspan(position, count)});
        session_.eval(appends_);
    }

    // Seconds of a run: the median of the repeats, after one that is not counted.
    template <class Work>
    double measure(Work work) {
        std::vector<double> seconds;
        for (std::uint32_t i = 0; i <= options_.repeats; ++i) {
            const Stopwatch watch;
            work();
            if (i > 0) seconds.push_back(watch.ms() / 1000);
            for (std::uint32_t s = 0; s < options_.batch; ++s) session_.truncate(s, options_.depth);
        }
        return median(seconds);
    }

    Result result(const char* what, std::uint32_t count, double seconds, const bench::Cost& cost) const {
        std::string name = fmt::format("{}{}", what, count);
        if (options_.depth > 0) name += fmt::format(" d{}", options_.depth);
        if (options_.batch > 1) name += fmt::format(" b{}", options_.batch);
        return {std::move(name), static_cast<double>(count) * options_.batch / seconds, cost.bytes / seconds / 1e9,
                cost.operations / seconds / 1e9};
    }

    const BenchOptions& options_;
    const ModelInfo info_;
    Session session_;
    std::vector<TokenId> tokens_;
    std::vector<Append> appends_;
};

bool is_quantised(const std::string& format) {
    const std::optional<DType> dtype = dtype_from_name(format);
    return !dtype || info(*dtype).block > 1;
}

int run(const BenchOptions& options) {
    if (options.prompt == 0 && options.generate == 0) throw UsageError("-p 0 and -n 0 leave nothing to measure");
    constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();
    if (std::uint64_t{options.depth} + std::max(options.prompt, options.generate) > most)
        throw UsageError("-d with -p or -n is too large");

    const Runtime runtime = make_runtime(options.runtime);
    // A figure means nothing without the settings of a library that made it; with -v the log has said them.
    if (const std::string with = runtime.backend_info(); !with.empty() && !options.runtime.verbose) print_note(with);
    const Model model = options.shape.empty()
                            ? load_model(runtime, model_path(options.model), options.runtime.lock)
                            : Model::random(runtime, {.shape = options.shape,
                                                    .format = options.format,
                                                    .lock = options.runtime.lock});
    const ModelInfo& info = model.info();
    note_long_context(info, std::uint64_t{options.depth} + std::max(options.prompt, options.generate));
    const bool quantised = is_quantised(info.format);
    Ceilings ceilings;
    const std::optional<DeviceRates> device = runtime.device_rates();
    if (device) {  // products on a device multiply f32
        ceilings.read = device->copy_gb;
        ceilings.compute = device->f32_gops;
    } else {
        ceilings.measure(runtime.threads(), info.token_bytes, quantised);
    }
    std::vector<Result> results;
    {
        Bench bench(model, options);
        if (options.prompt > 0) results.push_back(bench.prompt());
        if (options.generate > 0) results.push_back(bench.generate());
    }
    if (!device) ceilings.measure(runtime.threads(), info.token_bytes, quantised);

    if (options.json) {
        Json list = Json::array();
        for (const Result& r : results)
            list.push_back({{"test", r.test},
                            {"tokens_per_second", r.tokens_per_second},
                            {"gb_per_second", r.gb_per_second},
                            {"ceiling_gb_per_second", ceilings.read},
                            {"gops", r.gops},
                            {"ceiling_gops", ceilings.compute ? Json(*ceilings.compute) : Json()}});
        print_json(list);
        return 0;
    }
    const char* kind = device ? "f32" : quantised ? "int8" : "f32";
    std::string machine = fmt::format("machine: reads {:.1f} GB/s, {} {}", ceilings.read, kind,
                                      ceilings.compute ? fmt::format("{:.0f} GOPS", *ceilings.compute)
                                                       : "not measured on this CPU");
    if (device) {
        const auto gops = [](double n) { return n > 0 ? fmt::format("{:.0f} GOPS", n) : std::string("not supported"); };
        machine = fmt::format("device: copies {:.1f} GB/s (read + written), f32 {}, f16 {}, int8 {}, matrices {}", device->copy_gb,
                              gops(device->f32_gops), gops(device->f16_gops), gops(device->int8_gops),
                              gops(device->matrix_gops));
    }
    std::string out = fmt::format(
        "{}, {}, {} parameters, {}\n{}, {} thread{}, {}\n{}\n\n"
        "{:<16} {:>10}  {:>8} {:>8}  {:>9} {:>8}\n",
        printable(options.shape.empty() ? info.name : options.shape + " (random weights)"), info.format,
        human_count(info.parameters), human_bytes(info.weight_bytes), runtime.cpu_name(), runtime.threads(),
        runtime.threads() == 1 ? "" : "s", runtime.isa(), machine, "test", "tokens/s",
        "GB/s", "of limit", "GOPS", "of limit");
    for (const Result& r : results) {
        const std::string share =
            ceilings.compute ? fmt::format("{:.0f} %", 100 * r.gops / *ceilings.compute) : std::string("-");
        out += fmt::format("{:<16} {:>10.1f}  {:>8.1f} {:>6.0f} %  {:>9.1f} {:>8}\n", r.test, r.tokens_per_second,
                           r.gb_per_second, 100 * r.gb_per_second / ceilings.read, r.gops, share);
    }
    print_out(out);
    return 0;
}

}  // namespace

void add_bench(CLI::App& program, Action& action) {
    const auto o = std::make_shared<BenchOptions>();
    CLI::App* command =
        add_command(program, action, "bench", "Measures tokens per second beside the machine's limits.", o, run);
    command->add_option("-p", o->prompt, "tokens of the prompt; 0: none (512)")->option_text("N");
    command->add_option("-n", o->generate, "tokens to generate; 0: none (64)")->option_text("N");
    command->add_option("-d", o->depth, "tokens already in the context (0)")->option_text("N");
    command->add_option("-b", o->batch, "sequences at once (1)")->option_text("N")->check(CLI::Range(1, 65536));
    command->add_option("-r", o->repeats, "repeats; the median counts (3)")->option_text("N")->check(CLI::Range(1, 1000));
    add_kv_type_option(command, o->kv_type);
    add_model_option(command, o->model);
    CLI::Option* shape = command->add_option("--shape", o->shape, "random weights of a shape: llama-3.2-1b, moe-32x, …");
    shape->option_text("NAME")->excludes("-m");
    command->add_option("--format", o->format, "… in a format or a mixture (Q4_K_M)")->option_text("NAME")->needs(shape);
    command->add_flag("--json", o->json, "the results as one JSON list");
    add_runtime_options(command, o->runtime);
    command->footer("Example:\n  tern bench --shape llama-3.2-1b --format Q4_K_M -p 512 -n 64");
}

}  // namespace tern::cli
