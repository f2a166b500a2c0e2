// tern run --parallel: a file of prompts through one engine, answers as JSON lines.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <mutex>
#include <unordered_map>

#include <fmt/format.h>

#include "interrupt.h"
#include "run.h"

namespace tern::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// What a resumed run compares of a prompt: its text as a result line shows it.
std::size_t mark(const std::string& prompt) { return std::hash<std::string>()(dump(prompt)); }

// One line of the prompts.
struct Prompt {
    std::uint64_t index = 0;  // of the line, from 0
    std::string text;
    std::optional<std::uint32_t> max_tokens;
    std::optional<std::uint64_t> seed;
    std::optional<float> temperature;
    std::string error;
};

template <class T>
void take_number(const Json& object, const char* key, double most, std::optional<T>& value, std::string& error) {
    const auto at = object.find(key);
    if (at == object.end()) return;
    if (!at->is_number() || at->get<double>() < 0 || at->get<double>() > most ||
        (std::is_integral_v<T> && !at->is_number_integer()))
        error = fmt::format("\"{}\" is {}; it must be {} number from 0 to {}", key, dump(*at),
                            std::is_integral_v<T> ? "a whole" : "a", most);
    else
        value = at->get<T>();
}

Prompt read_prompt(std::uint64_t index, std::string line) {
    Prompt p{.index = index, .text = {}, .max_tokens = {}, .seed = {}, .temperature = {}, .error = {}};
    const Json object = line.starts_with('{') ? Json::parse(line, nullptr, false) : Json();
    if (!object.is_object()) {
        p.text = std::move(line);
        return p;
    }
    const auto text = object.find("prompt");
    if (text == object.end() || !text->is_string()) {
        p.text = std::move(line);
        p.error = "the JSON object has no text \"prompt\"";
        return p;
    }
    p.text = text->get<std::string>();
    take_number(object, "n", 4294967295.0, p.max_tokens, p.error);
    take_number(object, "seed", 18446744073709549568.0, p.seed, p.error);
    take_number(object, "temp", 1e9, p.temperature, p.error);
    if (p.max_tokens == 0u) p.error = "\"n\" is 0; it must be at least 1";
    return p;
}

class Prompts {
public:
    explicit Prompts(const std::string& path) : path_(path) {
        if (path == "-") return;
        struct stat status {};
        if (stat(path.c_str(), &status) != 0)
            throw Error(errno == ENOENT ? ErrorCode::not_found : ErrorCode::io,
                        fmt::format("the prompts '{}' cannot be opened: {}", path, std::strerror(errno)));
        if (S_ISDIR(status.st_mode)) throw Error(ErrorCode::io, fmt::format("the prompts '{}' are a folder", path));
        if (S_ISREG(status.st_mode)) bytes_ = static_cast<std::uint64_t>(status.st_size);
        file_.open(path, std::ios::binary);
        if (!file_)
            throw Error(ErrorCode::io, fmt::format("the prompts '{}' cannot be opened: {}", path, std::strerror(errno)));
    }
    // Empty lines count and are no prompts.
    std::optional<Prompt> next() {
        std::istream& in = path_ == "-" ? std::cin : file_;
        std::string line;
        while (std::getline(in, line)) {
            read_ += line.size() + 1;
            if (line.ends_with('\r')) line.pop_back();
            const std::uint64_t index = lines_++;
            if (!line.empty()) return read_prompt(index, std::move(line));
        }
        if (in.bad())
            throw Error(ErrorCode::io, fmt::format("the prompts '{}' cannot be read: {}", path_, std::strerror(errno)));
        return std::nullopt;
    }
    // Of the file, as far as that is known.
    double fraction() const { return bytes_ ? static_cast<double>(read_) / static_cast<double>(bytes_) : 0; }

private:
    std::string path_;
    std::ifstream file_;
    std::uint64_t bytes_ = 0, read_ = 0, lines_ = 0;
};

// Where the answers go: stdout, or a file whose whole lines count as done.
class Results {
public:
    explicit Results(const std::string& path) : path_(path) {
        if (path.empty()) return;
        file_ = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (file_ < 0) fail("cannot be opened");
        struct stat status {};
        if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode))
            throw Error(ErrorCode::io, fmt::format("--out: '{}' is no file; without --out the answers go to stdout", path));
        if (flock(file_, LOCK_EX | LOCK_NB) != 0)
            throw Error(ErrorCode::io, fmt::format("--out: another run is writing to '{}'", path));
        take_over();
    }
    ~Results() {
        if (file_ >= 0) close(file_);
    }
    Results(const Results&) = delete;
    Results& operator=(const Results&) = delete;

    bool has(const Prompt& prompt) const {
        const auto at = done_.find(prompt.index);
        if (at == done_.end()) return false;
        if (at->second != mark(prompt.text))
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("--out: '{}' answers another prompt at index {}; name a new file for other prompts",
                                    path_, prompt.index));
        return true;
    }
    std::size_t taken_over() const { return done_.size(); }
    std::uint64_t failed() const { return failed_; }

    void write(const Json& line) {
        failed_ += line.contains("error");
        const std::string text = dump(line) + "\n";
        if (file_ < 0) {
            print_out(text);
            return;
        }
        std::size_t written = 0;
        while (written < text.size()) {
            const ssize_t n = ::write(file_, text.data() + written, text.size() - written);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) fail("cannot be written");
            written += static_cast<std::size_t>(n);
        }
    }

private:
    [[noreturn]] void fail(const char* what) const {
        throw Error(ErrorCode::io, fmt::format("--out: '{}' {}: {}", path_, what, std::strerror(errno)));
    }

    void take_over() {
        std::ifstream in(path_, std::ios::binary);
        std::string line;
        std::uint64_t whole = 0, number = 0;
        bool torn = false;
        while (std::getline(in, line)) {
            ++number;
            if (in.eof()) {  // without its line break: the run was killed while it wrote
                torn = true;
                break;
            }
            whole += line.size() + 1;
            const Json object = Json::parse(line, nullptr, false);
            const auto index = object.is_object() ? object.find("index") : object.end();
            const auto prompt = object.is_object() ? object.find("prompt") : object.end();
            if (!object.is_object() || index == object.end() || !index->is_number_unsigned() || prompt == object.end() ||
                !prompt->is_string())
                throw Error(ErrorCode::bad_file,
                            fmt::format("--out: line {} of '{}' is no answer of tern run --parallel; name another file",
                                        number, path_));
            done_[index->get<std::uint64_t>()] = mark(prompt->get<std::string>());
            failed_ += object.contains("error");
        }
        if (torn && ftruncate(file_, static_cast<off_t>(whole)) != 0) fail("cannot be cut");
    }

    std::string path_;
    int file_ = -1;
    std::unordered_map<std::uint64_t, std::size_t> done_;
    std::uint64_t failed_ = 0;
};

// As much as all jobs can fill, but no more than a gigabyte unless the context that was asked for needs it. Without
// one, the context is what this holds.
std::uint64_t default_kv_memory(const Model& model, const EngineOptions& options, bool limited) {
    const MemoryPlan plan = Engine::plan(model, options);
    std::uint64_t bytes = std::min(options.parallel * plan.kv, GiB);
    if (plan.budget > 0) {
        const std::uint64_t beside = plan.scratch + (limited ? plan.weights : 0);
        bytes = std::min(bytes, plan.budget > beside ? plan.budget - beside : 0);
    }
    return options.context ? std::max(bytes, plan.kv) : bytes;
}

}  // namespace

int run_many(const RunOptions& options) {
    Prompts prompts(options.prompts);
    Results results(options.out);
    if (results.taken_over() > 0) print_note(fmt::format("{} answers are there already", with_commas(results.taken_over())));

    const Runtime runtime = make_runtime(options.runtime);
    const Model model = load_model(runtime, model_path(options.model), options.runtime.lock, options.pre);
    note_missing_template(model, options);
    EngineOptions engine_options{.kv_memory = options.kv_memory,
                                 .context = options.context,
                                 .kv_type = options.kv_type,
                                 .parallel = options.jobs};
    if (options.kv_memory == 0) engine_options.kv_memory = default_kv_memory(model, engine_options, options.runtime.memory > 0);

    // Declared before the engine: its thread calls on_end until it is gone.
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::uint64_t> ended;
    bool interrupted = false;

    Engine engine = open_on<Engine>(model, engine_options);
    struct Running {
        std::string prompt;
        Reply reply;
    };
    std::unordered_map<std::uint64_t, Running> running;
    const OnInterrupt guard(
        [&] {
            const std::lock_guard lock(mutex);
            interrupted = true;
            changed.notify_one();
        },
        true);
    Progress bar("answering");
    const Stopwatch watch;
    std::uint64_t answered = 0, tokens = 0;
    const auto stopped = [&] {
        const std::lock_guard lock(mutex);
        return interrupted;
    };

    bool more = true;
    while (more || !running.empty()) {
        while (more && running.size() < std::size_t{4} * options.jobs && !stopped()) {
            std::optional<Prompt> prompt = prompts.next();
            if (!prompt) {
                more = false;
                break;
            }
            if (results.has(*prompt)) continue;
            const std::uint64_t index = prompt->index;
            try {
                if (!prompt->error.empty()) throw Error(ErrorCode::invalid_argument, prompt->error);
                Request request = request_of(options);
                if (prompt->max_tokens) {
                    request.max_tokens = *prompt->max_tokens;
                    request.when_full = options.when_full.value_or(ContextPolicy::refuse);
                }
                if (prompt->seed) request.sampling.seed = *prompt->seed;
                if (prompt->temperature) request.sampling.temperature = *prompt->temperature;
                request.prompt_tokens = encode_prompt(model, prompt->text, options);
                request.on_end = [&mutex, &changed, &ended, index](const End&) {
                    const std::lock_guard lock(mutex);
                    ended.push_back(index);
                    changed.notify_one();
                };
                running.try_emplace(index, Running{prompt->text, engine.submit(std::move(request))});
            } catch (const Error& e) {
                results.write({{"index", index}, {"prompt", prompt->text}, {"error", e.what()}});
            }
        }

        std::uint64_t index = 0;
        {
            std::unique_lock lock(mutex);
            if (running.empty() && ended.empty() && !interrupted) continue;
            changed.wait(lock, [&] { return interrupted || !ended.empty(); });
            if (interrupted) break;
            index = ended.front();
            ended.pop_front();
        }
        const auto at = running.find(index);
        Reply& reply = at->second.reply;
        const std::string text = reply.text();
        const FinishReason reason = reply.finish_reason();
        Json line{{"index", index}, {"prompt", at->second.prompt}};
        if (reason == FinishReason::error) {
            line["error"] = reply.error()->what();
        } else {
            line["text"] = text;
            line["tokens"] = reply.tokens();
            line["finish_reason"] = to_string(reason);
        }
        tokens += reply.tokens().size();
        ++answered;
        running.erase(at);
        results.write(line);
        bar.update(prompts.fraction());
    }

    if (options.runtime.verbose || stderr_is_terminal())
        print_note(fmt::format("{} answers of {} tokens in {:.1f} s, {:.1f} tokens/s", with_commas(answered),
                               with_commas(tokens), watch.ms() / 1000, per_second(static_cast<double>(tokens), watch.ms())));
    if (stopped()) {
        print_note(options.out.empty() ? "stopped" : "stopped; the same command goes on from here");
        return kInterrupted;
    }
    if (results.failed() == 0) return 0;
    print_error(fmt::format("{} of the prompts failed; their lines have an \"error\"", with_commas(results.failed())));
    return kFailed;
}

}  // namespace tern::cli
