#include "common.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include <fmt/format.h>

namespace tern::cli {
namespace fs = std::filesystem;

namespace {

// Notes are not the result: where nobody can read them the command goes on.
void write_err(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace

void open_standard_files() {
    // The wrong way round, so that reading and writing fail as they would have.
    for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (fcntl(file, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", file == STDIN_FILENO ? O_WRONLY : O_RDONLY) != file)
            return;
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

void add_model_option(CLI::App* command, std::string& path) {
    command->add_option("-m,--model", path, "GGUF file (the built-in demo model)")->option_text("FILE");
}

void add_pre_option(CLI::App* command, std::string& pre) {
    command->add_option("--pre", pre, "how text is split, where the file does not say: qwen2, llama-bpe, …")
        ->option_text("NAME");
}

fs::path model_path(const std::string& option) {
    if (!option.empty()) return option;
    std::error_code ignored;
    const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
    const fs::path demo = (program.parent_path() / "../share/tern/tern-demo.gguf").lexically_normal();
    if (!fs::exists(demo, ignored))
        throw Error(ErrorCode::not_found,
                    fmt::format("no model: the built-in one is not at {}; name a GGUF file with -m FILE", demo.string()));
    return demo;
}

void add_runtime_options(CLI::App* command, RuntimeArgs& args) {
    command->add_option("-t,--threads", args.threads, "threads (all cores)")
        ->option_text("N")
        ->check(CLI::Range(1, 4096));
    add_size_option(command, "--memory", args.memory, "most memory to take, weights included: 8G, 512M (no limit)");
    command->add_option("--backend", args.backend, "cpu, vulkan, blas (OpenBLAS for prompts), ref (cpu)")->option_text("NAME");
    command->add_option("--device", args.device, "graphics device of backend vulkan, or several: A,B (see tern devices)")
        ->option_text("NAME");
    command->add_option("--gpu-layers", args.gpu_layers, "last layers that the devices hold (as many as fit)")
        ->option_text("N");
    command->add_flag("--half", args.half, "prompts in half precision on graphics devices");
    command->add_option("--isa", args.isa, "scalar, avx2, avxvnni, avx512, neon (the best here)")->option_text("NAME");
    command->add_flag("--lock", args.lock, "keep the weights in memory (mlock)");
    command->add_flag("-v,--verbose", args.verbose, "log and timings on stderr");
}

// Where programs keep what they can make again: the XDG Base Directory Specification.
std::string cache_folder() {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    if (cache && *cache == '/') return std::string(cache) + "/tern";
    const char* home = std::getenv("HOME");
    return home && *home == '/' ? std::string(home) + "/.cache/tern" : std::string();
}

Runtime make_runtime(const RuntimeArgs& args) {
    RuntimeOptions options{.threads = args.threads,
                           .backend = args.backend,
                           .device = args.device,
                           .gpu_layers = args.gpu_layers,
                           .half_products = args.half,
                           .cache_folder = args.backend == "vulkan" ? cache_folder() : std::string(),
                           .isa = args.isa,
                           .memory_budget = args.memory,
                           .log = {}};
    options.log = [verbose = args.verbose](LogLevel level, std::string_view line) {
        if (verbose || level == LogLevel::warning || level == LogLevel::error) print_note(line);
    };
    Runtime runtime(std::move(options));
    if (args.verbose)
        print_note(fmt::format("{}, {} threads, {}: {}", runtime.backend(), runtime.threads(), runtime.isa(),
                               runtime.cpu_name()));
    return runtime;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    double number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || !(number > 0)) return std::nullopt;
    std::string unit;
    for (const char* c = rest; c != text.data() + text.size(); ++c)
        if (*c != ' ') unit += static_cast<char>(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    if (unit.ends_with("IB") && unit.size() == 3)
        unit.resize(1);
    else if (unit.ends_with('B') && unit.size() <= 2)
        unit.pop_back();
    constexpr std::string_view kUnits = "KMGT";
    if (unit.size() > 1 || (!unit.empty() && kUnits.find(unit[0]) == kUnits.npos)) return std::nullopt;
    if (!unit.empty())
        for (std::size_t i = 0; i <= kUnits.find(unit[0]); ++i) number *= 1024;
    if (number < 1 || number >= 0x1p63) return std::nullopt;
    return static_cast<std::uint64_t>(number);
}

CLI::Option* add_size_option(CLI::App* command, const char* name, std::uint64_t& bytes, const char* description) {
    return command
        ->add_option_function<std::string>(
            name,
            [&bytes, name](const std::string& text) {
                const std::optional<std::uint64_t> size = parse_size(text);
                if (!size) throw CLI::ValidationError(name, "'" + text + "' is no size; write 8G, 512M or bytes");
                bytes = *size;
            },
            description)
        ->option_text("SIZE");
}

void add_kv_type_option(CLI::App* command, KvType& type) {
    command
        ->add_option_function<std::string>(
            "--kv-type",
            [&type](const std::string& name) {
                type = name == "f32"   ? KvType::f32
                       : name == "f16" ? KvType::f16
                       : name == "q8_0" ? KvType::q8_0
                                        : KvType::q4_0;
            },
            "numbers of the KV cache: f32, f16, q8_0, or q4_0, which costs quality (f16)")
        ->option_text("TYPE")
        ->check(CLI::IsMember({"f32", "f16", "q8_0", "q4_0"}));
}

void add_sampling_options(CLI::App* command, SamplerOptions& s) {
    command->add_option("--temp", s.temperature, "temperature; 0: always the best token (0.8)")->option_text("X");
    command->add_option("--top-k", s.top_k, "only the K best tokens; 0: off (40)")->option_text("K");
    command->add_option("--top-p", s.top_p, "only the best that reach P together (0.95)")->option_text("P");
    command->add_option("--min-p", s.min_p, "only those P times as likely as the best (0.05)")->option_text("P");
    command->add_option("--typical-p", s.typical_p, "locally typical sampling; 1: off (1)")->option_text("P");
    command->add_option("--repeat-penalty", s.repeat_penalty, "against repetition; 1: off (1)")->option_text("X");
    command->add_option("--frequency-penalty", s.frequency_penalty, "the same, per occurrence (0)")->option_text("X");
    command->add_option("--presence-penalty", s.presence_penalty, "the same, once (0)")->option_text("X");
    command->add_option("--penalty-last-n", s.penalty_last_n, "tokens they look at; -1: all (64)")->option_text("N");
    command->add_option_function<std::string>(
               "--seed",
               [&s](const std::string& text) {
                   if (text == "random")
                       s.seed = std::uint64_t{std::random_device{}()} << 32 | std::random_device{}();
                   else if (!CLI::detail::lexical_cast(text, s.seed))
                       throw CLI::ValidationError("--seed", "'" + text + "' is neither a number nor 'random'");
               },
               "same seed, same text; or \"random\" (0)")
        ->option_text("N");
}

Model load_model(const Runtime& runtime, const fs::path& path, bool lock, const std::string& pre) {
    Progress bar("loading");
    ModelOptions options{.tokenizer = {.pre = pre}, .lock = lock};
    if (stderr_is_terminal()) {
        options.preload = true;
        options.progress = [&bar](double fraction) {
            bar.update(fraction);
            return true;
        };
    }
    return Model::load(runtime, path, options);
}

void note_long_context(const ModelInfo& info, std::uint64_t positions) {
    if (positions > info.context_length)
        print_note(fmt::format("{} positions are more than the {} that the model was trained for", positions,
                               info.context_length));
}

// ---- Progress -----------------------------------------------------------------------------------------------------

Progress::Progress(std::string label)
    : label_(std::move(label)), start_(std::chrono::steady_clock::now()), terminal_(stderr_is_terminal()) {}

Progress::~Progress() {
    if (drawn_ >= 0) write_err("\r\x1b[K");
}

void Progress::update(double fraction) {
    if (!terminal_ || std::chrono::steady_clock::now() - start_ < std::chrono::seconds(1)) return;
    const int percent = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * 100);
    if (percent == drawn_) return;
    drawn_ = percent;
    const auto done = static_cast<std::size_t>(percent * 30 / 100);
    write_err(fmt::format("\r{} [{:<30}] {:3} %", label_, std::string(done, '#'), percent));
}

// ---- input and output ---------------------------------------------------------------------------------------------

namespace {

// Reads to the end; the caller closes.
std::string read_all(int file, const std::string& name) {
    std::string bytes;
    std::size_t used = 0;
    for (;;) {
        bytes.resize(std::max<std::size_t>(2 * used, 65536));
        const ssize_t n = read(file, bytes.data() + used, bytes.size() - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw Error(ErrorCode::io, fmt::format("{} cannot be read: {}", name, std::strerror(errno)));
        if (n == 0) break;
        used += static_cast<std::size_t>(n);
    }
    bytes.resize(used);
    return bytes;
}

}  // namespace

std::string read_stdin() { return read_all(STDIN_FILENO, "standard input"); }

std::string read_bytes(const fs::path& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        throw Error(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                    fmt::format("{} cannot be opened: {}", path.string(), std::strerror(errno)));
    struct Closer {
        int file;
        ~Closer() { close(file); }
    } closer{file};
    return read_all(file, path.string());
}

void print_out(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
        throw Error(ErrorCode::io, fmt::format("standard output cannot be written: {}", std::strerror(errno)));
}

void print_json(const nlohmann::ordered_json& document) {
    print_out(document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void print_note(std::string_view text) { write_err(fmt::format("tern: {}\n", printable(text))); }
void print_error(std::string_view text) { write_err(fmt::format("tern: error: {}\n", printable(text))); }

std::string printable(std::string_view text, bool keep_lines) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((byte >= 0x20 && byte != 0x7f) || (keep_lines && (c == '\n' || c == '\t')))
            out += c;
        else
            out += fmt::format("\\x{:02x}", byte);
    }
    return out;
}

std::string human_bytes(std::uint64_t bytes) {
    if (bytes < 1024) return fmt::format("{} B", bytes);
    double value = static_cast<double>(bytes) / 1024;
    const char* unit = "KiB";
    for (const char* next : {"MiB", "GiB", "TiB"}) {
        if (value < 1024) break;
        value /= 1024;
        unit = next;
    }
    return fmt::format("{:.1f} {}", value, unit);
}

std::string human_count(std::uint64_t count) {
    const auto value = static_cast<double>(count);
    if (value >= 1e9) return fmt::format("{:.2f} B", value / 1e9);
    if (value >= 1e6) return fmt::format("{:.2f} M", value / 1e6);
    return with_commas(count);
}

std::string with_commas(std::uint64_t value) {
    std::string digits = std::to_string(value);
    for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
    return digits;
}

double per_second(double count, double milliseconds) { return milliseconds > 0 ? count / milliseconds * 1000 : 0; }

}  // namespace tern::cli
