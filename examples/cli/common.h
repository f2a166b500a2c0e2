// What the commands share.
#pragma once

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <tern/tern.h>

namespace tern::cli {

// The exit status besides 0.
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kInterrupted = 130;  // as shells report SIGINT

// A mistake in the command line that the parser cannot see.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// What the command line chose to do; main calls it after parsing.
using Action = std::function<int()>;

// Each adds its command to the program.
void add_run(CLI::App& program, Action& action);
void add_chat(CLI::App& program, Action& action);
void add_plan(CLI::App& program, Action& action);
void add_tokenize(CLI::App& program, Action& action);
void add_logits(CLI::App& program, Action& action);
void add_inspect(CLI::App& program, Action& action);
void add_render(CLI::App& program, Action& action);
void add_bench(CLI::App& program, Action& action);
void add_devices(CLI::App& program, Action& action);
void add_embed(CLI::App& program, Action& action);
void add_verify(CLI::App& program, Action& action);

// A command with the options struct that lives as long as its action.
template <class Options>
CLI::App* add_command(CLI::App& program, Action& action, const char* name, const char* description,
                      const std::shared_ptr<Options>& options, int (*run)(const Options&)) {
    CLI::App* command = program.add_subcommand(name, description);
    command->callback([&action, options, run] { action = [options, run] { return run(*options); }; });
    return command;
}

// -m
void add_model_option(CLI::App* command, std::string& path);
// --pre: TokenizerOptions::pre
void add_pre_option(CLI::App* command, std::string& pre);
// The named file, or the built-in model that stands at ../share/tern/ from the program.
std::filesystem::path model_path(const std::string& option);

// -t, --memory, --backend, --device, --gpu-layers, --half, --isa, --lock, -v
struct RuntimeArgs {
    unsigned threads = 0;
    std::uint64_t memory = 0;  // RuntimeOptions::memory_budget
    std::string backend = "cpu";
    std::string device;
    std::optional<std::uint32_t> gpu_layers;
    bool half = false;  // RuntimeOptions::half_products
    std::string isa;
    bool lock = false;
    bool verbose = false;
};
void add_runtime_options(CLI::App* command, RuntimeArgs& args);
Runtime make_runtime(const RuntimeArgs& args);

// An option that takes a size: bytes, or a number with K, M, G or T (of 1024): 512M, 1.5G, 8GiB.
CLI::Option* add_size_option(CLI::App* command, const char* name, std::uint64_t& bytes, const char* description);
std::optional<std::uint64_t> parse_size(std::string_view text);

// --kv-type
void add_kv_type_option(CLI::App* command, KvType& type);

// --temp, --top-k, … --seed
void add_sampling_options(CLI::App* command, SamplerOptions& sampling);

// Maps the file; on a terminal reads all of it with a progress bar, so that the first token comes without waiting.
Model load_model(const Runtime& runtime, const std::filesystem::path& path, bool lock, const std::string& pre = {});

// A note where `positions` are more than the model was trained for: it runs, and what it says there means little.
void note_long_context(const ModelInfo& info, std::uint64_t positions);

// A bar on stderr, only on a terminal and only for what takes over a second. Gone at the end.
class Progress {
public:
    explicit Progress(std::string label);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    void update(double fraction);

private:
    std::string label_;
    std::chrono::steady_clock::time_point start_;
    bool terminal_;
    int drawn_ = -1;  // percent
};

// An Engine or a Session; a bar shows how much of the weights is on the device.
template <class T, class Options>
T open_on(const Model& model, Options options) {
    Progress bar("uploading");
    options.progress = [&bar](double fraction) {
        bar.update(fraction);
        return true;
    };
    return T(model, options);
}

class Stopwatch {
public:
    double ms() const { return std::chrono::duration<double, std::milli>(Clock::now() - start_).count(); }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point start_ = Clock::now();
};

// Opens /dev/null in place of a standard file that the caller closed, so that no other file gets its number and our
// notes with it.
void open_standard_files();

bool stderr_is_terminal();
bool stdout_is_terminal();

// All bytes of standard input, or of a file. Error(io), Error(not_found).
std::string read_stdin();
std::string read_bytes(const std::filesystem::path& path);

// To stdout. Error(io) when it cannot be written.
void print_out(std::string_view text);
void print_json(const nlohmann::ordered_json& document);
// A line on stderr: "tern: ..."; control characters are escaped.
void print_note(std::string_view text);
void print_error(std::string_view text);

// Control characters as \xNN, so that a file's names cannot steer a terminal. Newlines and tabs stay on request.
std::string printable(std::string_view text, bool keep_lines = false);

std::string human_bytes(std::uint64_t bytes);      // "763.4 MiB"
std::string human_count(std::uint64_t count);      // "1.24 B"
std::string with_commas(std::uint64_t value);      // "1,234,567"
double per_second(double count, double milliseconds);  // 0 for no time

}  // namespace tern::cli
