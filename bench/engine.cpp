// Load on tern::Engine: requests that arrive at random times, and what their users see.
//
//   bench_engine -m model.gguf --requests 64 --rate 2      a Poisson load; --rate 0: all at once
//   bench_engine -m model.gguf --stall                     running replies while a long prompt is admitted
//   bench_engine -m model.gguf --prefix                    time to the first token with a cached beginning
//   and without
//
// Times are those of Request::on_piece, counted from the moment at which a request was to arrive, whether or
// not submit() was late. A piece of several tokens (text is held back until its code point is whole) counts
// as as many equal gaps. Percentiles are by nearest rank. Prompts are random ids and replies greedy, so
// weights and text do not matter. --write-load writes the load for another program; scripts/engine_load.py
// replays it to a server.
#include <fmt/format.h>
#include <tern/tern.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace tern;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Lengths in tokens, both ends included.
struct Range {
    std::uint32_t min = 0, max = 0;
};

struct Options {
    std::string model, shape, format = "Q4_K_M";
    unsigned threads = 0;
    std::uint64_t kv_memory = 0, park_memory = 0;
    std::uint32_t parallel = 16, prefill_budget = 0;
    std::uint32_t requests = 64;
    double rate = 0;
    Range prompt{128, 1024}, generate{32, 256};
    double prefix_share = 0;
    std::uint64_t seed = 1;
    bool stall = false, prefix = false;
    std::uint32_t running = 8, admit = 4096;   // --stall
    std::uint32_t cold = 2048, cached = 1984;  // --prefix
    std::uint32_t repeats = 5;
    std::string write_load;
    bool json = false;
};

// ---- the load --------------------------------------------------------------------------------------------

// The distributions of <random> differ from library to library; these do not.
class Random {
public:
    explicit Random(std::uint64_t seed) : bits_(seed) {}
    double unit() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }  // [0, 1)
    std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>((bits_() >> 32) * n >> 32); }
    std::uint32_t in(Range r) { return r.min + below(r.max - r.min + 1); }

private:
    std::mt19937_64 bits_;
};

struct Arrival {
    double at = 0;  // seconds from the start
    std::vector<TokenId> prompt;
    std::uint32_t generate = 0;
};

std::vector<TokenId> random_tokens(Random& random, std::uint32_t count, std::uint32_t vocab) {
    std::vector<TokenId> out(count);
    for (TokenId& id : out) id = static_cast<TokenId>(random.below(vocab));
    return out;
}

// The same seed gives the same prompts and lengths at every rate.
std::vector<Arrival> make_load(const Options& o, std::uint32_t vocab) {
    Random random(o.seed);
    const std::vector<TokenId> common = random_tokens(random, o.prompt.max, vocab);
    std::vector<Arrival> load(o.requests);
    double at = 0;
    for (Arrival& a : load) {
        const double gap = -std::log1p(-random.unit());  // exponential, mean 1
        if (o.rate > 0) a.at = at += gap / o.rate;
        const std::uint32_t length = random.in(o.prompt);
        a.generate = random.in(o.generate);
        const auto shared = static_cast<std::uint32_t>(std::lround(o.prefix_share * length));
        a.prompt = random_tokens(random, length, vocab);
        std::copy_n(common.begin(), shared, a.prompt.begin());
    }
    return load;
}

Json load_options(const Options& o) {
    return {{"rate", o.rate},
            {"requests", o.requests},
            {"prompt", {o.prompt.min, o.prompt.max}},
            {"generate", {o.generate.min, o.generate.max}},
            {"prefix_share", o.prefix_share},
            {"seed", o.seed}};
}

// A line of JSON per request; the first has the options of the load, too.
void write_load(const Options& o, const std::vector<Arrival>& load) {
    std::ofstream out(o.write_load, std::ios::binary);
    for (std::size_t i = 0; i < load.size(); ++i) {
        Json line = {{"at_s", load[i].at}, {"prompt_tokens", load[i].prompt}, {"generate", load[i].generate}};
        if (i == 0) line["load"] = load_options(o);
        out << line.dump() << '\n';
    }
    out.close();
    if (!out)
        throw Error(ErrorCode::io,
                    fmt::format("the load cannot be written to {}: see that its folder exists and has "
                                "room",
                                o.write_load));
}

// ---- measuring -------------------------------------------------------------------------------------------

double ms(Clock::duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
}

// The least value that at least `share` of all are no greater than; 0 of none.
double percentile(std::vector<double> values, double share) {
    if (values.empty()) return 0;
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    const std::size_t i = std::max<std::size_t>(rank, 1) - 1;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values.end());
    return values[i];
}

Json percentiles(const std::vector<double>& values) {
    return {{"p50", percentile(values, 0.5)}, {"p99", percentile(values, 0.99)}};
}

// What a request's callback saw. The engine's thread writes; others read `pieces` after Reply::wait(), which
// is the fence, and `tokens` at any time. The callback shares it, because the engine may outlive who started
// the request.
struct Trace {
    struct At {
        Clock::time_point time;
        std::uint32_t tokens;
    };
    std::vector<At> pieces;
    std::atomic<std::uint32_t> tokens{0};

    void add(const Piece& piece) {
        const auto count = static_cast<std::uint32_t>(piece.tokens.size());
        if (count == 0) return;
        pieces.push_back({Clock::now(), count});
        tokens += count;
    }
    // Milliseconds per token of the pieces in (from, to], each counted from the piece before.
    void gaps(std::vector<double>& out, Clock::time_point from = Clock::time_point::min(),
              Clock::time_point to = Clock::time_point::max()) const {
        for (std::size_t i = 1; i < pieces.size(); ++i)
            if (pieces[i].time > from && pieces[i].time <= to)
                out.insert(out.end(), pieces[i].tokens,
                           ms(pieces[i].time - pieces[i - 1].time) / pieces[i].tokens);
    }
};

// A figure of a run in which something failed would be of another load.
void check(Reply& reply) {
    if (reply.finish_reason() == FinishReason::length) return;
    if (reply.error()) throw *reply.error();
    throw Error(ErrorCode::internal,
                fmt::format("a request ended with {} instead of length", to_string(reply.finish_reason())));
}

Request request(std::vector<TokenId> prompt, std::uint32_t generate, const std::shared_ptr<Trace>& trace) {
    Request r;
    r.prompt_tokens = std::move(prompt);
    r.max_tokens = generate;
    r.sampling.temperature = 0;
    r.ignore_end = true;
    trace->pieces.reserve(generate);
    r.on_piece = [trace](const Piece& piece) { trace->add(piece); };
    return r;
}

// Use of the pool, looked at every few milliseconds while it is in use. Pages that sequences share are
// counted once, their tokens for each, so more than all can be filled.
class PoolWatch {
public:
    explicit PoolWatch(const Engine& engine)
        : engine_(engine), thread_([this](const std::stop_token& stop) {
              while (!stop.stop_requested()) {
                  add(engine_.status());
                  std::this_thread::sleep_for(std::chrono::milliseconds(5));
              }
          }) {}
    Json stop() {
        thread_.request_stop();
        thread_.join();
        const auto n = static_cast<double>(std::max<std::uint64_t>(1, samples_));
        const auto waited = static_cast<double>(std::max<std::uint64_t>(1, waited_));
        return {{"samples", samples_},
                {"used_of_pages_mean", used_ / n},
                {"used_of_pages_max", most_},
                {"used_of_pages_mean_while_requests_wait", waited_used_ / waited},
                {"cached_of_pages_mean_while_requests_wait", waited_cached_ / waited},
                {"filled_of_used_mean", filled_ / n},
                {"running_mean", running_ / n}};
    }

private:
    void add(const EngineStatus& s) {
        if (s.pages_used == 0 || s.pages == 0) return;
        ++samples_;
        const double used = static_cast<double>(s.pages_used) / s.pages;
        used_ += used;
        most_ = std::max(most_, used);
        if (s.waiting != 0) {
            ++waited_;
            waited_used_ += used;
            waited_cached_ += static_cast<double>(s.pages_cached) / s.pages;
        }
        filled_ +=
            static_cast<double>(s.positions_used) / (static_cast<double>(s.pages_used) * s.page_positions);
        running_ += s.running;
    }

    const Engine& engine_;
    std::uint64_t samples_ = 0, waited_ = 0;
    double waited_used_ = 0, waited_cached_ = 0;
    double used_ = 0, most_ = 0, filled_ = 0, running_ = 0;
    std::jthread thread_;  // last: it uses the rest
};

class Bench {
public:
    explicit Bench(const Options& o)
        : options_(o),
          runtime_({.threads = o.threads}),
          model_(o.shape.empty() ? Model::load(runtime_, o.model)
                                 : Model::random(runtime_, {.shape = o.shape, .format = o.format})),
          vocab_(vocabulary()) {}

    int run() {
        const Options& o = options_;
        if (o.stall) return print(stall());
        if (o.prefix) return print(prefix());
        const std::vector<Arrival> load = make_load(o, vocab_);
        if (!o.write_load.empty()) {
            write_load(o, load);
            return 0;
        }
        return print(measure(load));
    }

private:
    // Ids beyond a file's vocabulary are padding, which the engine refuses.
    std::uint32_t vocabulary() const {
        const std::uint32_t rows = model_.info().vocab_size;
        const Tokenizer& tokenizer = model_.tokenizer();
        if (tokenizer.kind() == TokenizerKind::none || tokenizer.vocab_size() == 0) return rows;
        return std::min(rows, static_cast<std::uint32_t>(tokenizer.vocab_size()));
    }

    // With room for `sequences` of the whole context unless the user says otherwise; has touched everything
    // once.
    Engine open(std::uint32_t context, std::uint32_t sequences) {
        EngineOptions e{.kv_memory = options_.kv_memory,
                        .context = context,
                        .parallel = options_.parallel,
                        .prefill_budget = options_.prefill_budget,
                        .park_memory = options_.park_memory};
        if (e.kv_memory == 0) e.kv_memory = Engine::plan(model_, e).kv * sequences;
        Engine engine(model_, e);
        // A prompt as long as a step takes, so that neither weights nor scratch are touched first in what is
        // measured.
        Random random(~options_.seed);
        Request r = request(random_tokens(random, std::min(e.batch, context - 1), vocab_), 1,
                            std::make_shared<Trace>());
        r.use_cache = false;
        Reply reply = engine.submit(std::move(r));
        check(reply);
        return engine;
    }

    Json head(const char* mode) const {
        return {{"program", "tern"},
                {"mode", mode},
                {"model", options_.shape.empty() ? model_.info().name : options_.shape + " (random weights)"},
                {"format", model_.info().format},
                {"machine", runtime_.cpu_name()},
                {"isa", runtime_.isa()},
                {"threads", runtime_.threads()},
                {"parallel", options_.parallel}};
    }

    Json measure(const std::vector<Arrival>& load) {
        const Options& o = options_;
        Engine engine = open(o.prompt.max + o.generate.max, o.parallel);
        const EngineStatus before = engine.status();
        std::vector<std::shared_ptr<Trace>> traces;
        std::vector<Reply> replies;
        PoolWatch pool(engine);
        const Clock::time_point start = Clock::now();
        const auto arrival = [&](const Arrival& a) {
            return start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(a.at));
        };
        double late = 0;
        for (const Arrival& a : load) {
            traces.push_back(std::make_shared<Trace>());
            Request r = request(a.prompt, a.generate, traces.back());
            std::this_thread::sleep_until(arrival(a));
            replies.push_back(engine.submit(std::move(r)));
            late = std::max(late, ms(Clock::now() - arrival(a)));
        }
        for (Reply& reply : replies) reply.wait();
        const Json pool_use = pool.stop();
        const EngineStatus after = engine.status();

        std::vector<double> first, gaps;
        Clock::time_point end = start;
        std::uint64_t prompt_tokens = 0, generated = 0, cached = 0;
        for (std::size_t i = 0; i < load.size(); ++i) {
            check(replies[i]);
            const Trace& trace = *traces[i];
            if (trace.tokens != load[i].generate)
                throw Error(ErrorCode::internal, fmt::format("request {} gave {} tokens of the {} asked for",
                                                             i, trace.tokens.load(), load[i].generate));
            first.push_back(ms(trace.pieces.front().time - arrival(load[i])));
            trace.gaps(gaps);
            end = std::max(end, trace.pieces.back().time);
            prompt_tokens += load[i].prompt.size();
            generated += trace.tokens;
            cached += replies[i].timings().cached_tokens;
        }
        const double seconds = ms(end - start) / 1000;
        Json out = head("load");
        out["kv_bytes"] = engine.kv_bytes();
        out.update(load_options(o));
        out["seconds"] = seconds;
        out["prompt_tokens"] = prompt_tokens;
        out["cached_tokens"] = cached;
        out["generated_tokens"] = generated;
        out["prompt_tokens_per_second"] = static_cast<double>(prompt_tokens) / seconds;
        out["generated_tokens_per_second"] = static_cast<double>(generated) / seconds;
        out["first_token_ms"] = percentiles(first);
        out["token_ms"] = percentiles(gaps);
        out["submit_late_ms"] = late;
        out["pool"] = pool_use;
        out["parks"] = after.parks - before.parks;
        out["steps"] = after.steps - before.steps;
        return out;
    }

    // Decode latency of running requests while a long prompt is admitted, and after it, when they are as
    // deep.
    Json stall() {
        constexpr std::uint32_t kPrompt = 64, kSettle = 16, kBefore = 128, kAfter = 64;
        const Options& o = options_;
        // The running ones must outlive the prompt, which costs at most about a token of each per token of
        // its own.
        const std::uint32_t reply_length = kSettle + kBefore + o.admit + kAfter;
        Engine engine = open(kPrompt + reply_length, o.running + 1);
        Random random(o.seed);
        std::vector<double> before, during, after, first;
        std::uint64_t prompt_tokens = 0, steps = 0;
        for (std::uint32_t round = 0; round < o.repeats; ++round) {
            std::vector<std::shared_ptr<Trace>> traces;
            std::vector<Reply> replies;
            for (std::uint32_t i = 0; i < o.running; ++i) {
                traces.push_back(std::make_shared<Trace>());
                replies.push_back(engine.submit(
                    request(random_tokens(random, kPrompt, vocab_), reply_length, traces.back())));
            }
            const auto all_have = [&](std::uint32_t tokens) {
                while (std::ranges::any_of(traces, [&](const auto& t) { return t->tokens < tokens; })) {
                    for (Reply& reply : replies)
                        if (reply.done()) check(reply);
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
                }
                return Clock::now();
            };
            const Clock::time_point steady = all_have(kSettle);
            const Clock::time_point admitted = all_have(kSettle + kBefore);
            const std::uint64_t steps_before = engine.status().steps;
            const auto trace = std::make_shared<Trace>();
            Reply prompt = engine.submit(request(random_tokens(random, o.admit, vocab_), 1, trace));
            check(prompt);
            const Clock::time_point computed = trace->pieces.front().time;
            steps += engine.status().steps - steps_before;
            std::uint32_t most = 0;
            for (const auto& t : traces) most = std::max(most, t->tokens.load());
            if (most + kAfter <= reply_length) all_have(most + kAfter);
            for (const Reply& reply : replies)
                if (reply.done())
                    throw Error(ErrorCode::invalid_argument,
                                "a running reply ended before the prompt was computed, so "
                                "that the gaps are not of all; use a shorter --admit");
            for (Reply& reply : replies) reply.cancel();
            for (Reply& reply : replies) reply.wait();
            for (const auto& t : traces) {
                t->gaps(before, steady, admitted);
                t->gaps(during, admitted, computed);
                t->gaps(after, computed);
            }
            first.push_back(ms(computed - admitted));
            prompt_tokens += o.admit;
        }
        double prompt_seconds = 0;
        for (const double f : first) prompt_seconds += f / 1000;
        Json out = head("stall");
        out["running"] = o.running;
        out["prompt"] = o.admit;
        out["repeats"] = o.repeats;
        out["prompt_tokens_per_second"] = static_cast<double>(prompt_tokens) / prompt_seconds;
        out["prompt_tokens_per_step"] =
            static_cast<double>(prompt_tokens) / static_cast<double>(std::max<std::uint64_t>(steps, 1));
        const std::pair<const char*, const std::vector<double>*> phases[] = {
            {"before", &before}, {"during", &during}, {"after", &after}};
        for (const auto& [name, gaps] : phases) {
            out[name] = percentiles(*gaps);
            out[name]["max"] = percentile(*gaps, 1);
            out[name]["tokens"] = gaps->size();
        }
        out["ratio"] = {{"p50", ratio(percentile(during, 0.5), percentile(before, 0.5))},
                        {"p99", ratio(percentile(during, 0.99), percentile(before, 0.99))}};
        return out;
    }

    // Time to the first token, alone on the engine, of a prompt of which nothing is cached and of one of the
    // same length that begins as the one before.
    Json prefix() {
        const Options& o = options_;
        Engine engine = open(o.cold + 1, 2);
        Random random(o.seed);
        const auto first_token = [&](const std::vector<TokenId>& prompt, std::uint32_t cached) {
            const auto trace = std::make_shared<Trace>();
            const Clock::time_point start = Clock::now();
            Reply reply = engine.submit(request(prompt, 1, trace));
            check(reply);
            if (const std::uint32_t found = reply.timings().cached_tokens; found != cached)
                throw Error(
                    ErrorCode::invalid_argument,
                    fmt::format(
                        "{} tokens of the prompt were found in the cache, {} expected; more --kv-memory, or "
                        "--cached in whole pages, would help",
                        found, cached));
            return ms(trace->pieces.front().time - start);
        };
        std::vector<double> cold, warm;
        for (std::uint32_t i = 0; i < o.repeats; ++i) {
            engine.clear_cache();
            std::vector<TokenId> prompt = random_tokens(random, o.cold, vocab_);
            cold.push_back(first_token(prompt, 0));
            const auto other = random_tokens(random, o.cold - o.cached, vocab_ - 1);
            for (std::uint32_t k = o.cached; k < o.cold; ++k)  // any id but the one that was there
                prompt[k] = static_cast<TokenId>((static_cast<std::uint32_t>(prompt[k]) + 1 +
                                                  static_cast<std::uint32_t>(other[k - o.cached])) %
                                                 vocab_);
            warm.push_back(first_token(prompt, o.cached));
        }
        Json out = head("prefix");
        out["prompt"] = o.cold;
        out["cached"] = o.cached;
        out["repeats"] = o.repeats;
        const double cold_ms = percentile(cold, 0.5), warm_ms = percentile(warm, 0.5);
        out["cold_first_token_ms"] = cold_ms;
        out["cached_first_token_ms"] = warm_ms;
        out["ratio"] = ratio(warm_ms, cold_ms);
        return out;
    }

    static double ratio(double a, double b) { return b > 0 ? a / b : 0; }

    int print(const Json& r) const {
        if (options_.json) {
            fmt::print("{}\n", r.dump(2, ' ', false, Json::error_handler_t::replace));
            return 0;
        }
        const auto number = [&](const char* key) { return r.at(key).get<double>(); };
        const auto pair = [&](const char* label, const Json& p) {
            fmt::print("{:<28}{:>10.1f}{:>10.1f}\n", label, p.at("p50").get<double>(),
                       p.at("p99").get<double>());
        };
        fmt::print("{}, {}, {}, {} thread{}, {}\n", r.at("model").get<std::string>(),
                   r.at("format").get<std::string>(), r.at("machine").get<std::string>(), runtime_.threads(),
                   runtime_.threads() == 1 ? "" : "s", runtime_.isa());
        if (options_.prefix) {
            fmt::print(
                "first token of a prompt of {} tokens, median of {}\n{:<28}{:>10.1f} ms\n{:<28}{:>10.1f} ms, "
                "{:.1f} %\n",
                options_.cold, options_.repeats, "nothing cached", number("cold_first_token_ms"),
                fmt::format("{} cached", options_.cached), number("cached_first_token_ms"),
                100 * number("ratio"));
            return 0;
        }
        if (options_.stall) {
            fmt::print(
                "{} replies running while a prompt of {} tokens is computed, {} "
                "times\n\n{:<28}{:>10}{:>10}\n",
                options_.running, options_.admit, options_.repeats, "ms per token", "p50", "p99");
            pair("before", r.at("before"));
            pair("during", r.at("during"));
            pair("after, as deep", r.at("after"));
            fmt::print("{:<28}{:>10.2f}{:>10.2f}\n\n{:<28}{:>10.1f} tokens/s, {:.1f} in a step\n",
                       "during / before", r.at("ratio").at("p50").get<double>(),
                       r.at("ratio").at("p99").get<double>(), "prompt", number("prompt_tokens_per_second"),
                       number("prompt_tokens_per_step"));
            return 0;
        }
        const Json& pool = r.at("pool");
        fmt::print(
            "{} requests {}, {} at once at most; {:.1f} s\n\n", options_.requests,
            options_.rate > 0 ? fmt::format("at {:g} per second", options_.rate) : std::string("together"),
            options_.parallel, number("seconds"));
        fmt::print("{:<28}{:>10.1f}  tokens/s of {}\n{:<28}{:>10.1f}  tokens/s of {}, {} cached\n\n",
                   "generated", number("generated_tokens_per_second"),
                   r.at("generated_tokens").get<std::uint64_t>(), "prompts",
                   number("prompt_tokens_per_second"), r.at("prompt_tokens").get<std::uint64_t>(),
                   r.at("cached_tokens").get<std::uint64_t>());
        fmt::print("{:<28}{:>10}{:>10}\n", "ms", "p50", "p99");
        pair("to the first token", r.at("first_token_ms"));
        pair("per token after it", r.at("token_ms"));
        fmt::print("\n{:<28}{:>9.1f} %  (most: {:.1f} %)\n{:<28}{:>9.1f} %  and cached: {:.1f} %\n{:<28}{:>9.1f} %\n{:<28}{:>10.1f}\n{:<28}{:>10}\n",
                   "pages in use", 100 * pool.at("used_of_pages_mean").get<double>(),
                   100 * pool.at("used_of_pages_max").get<double>(), "… while requests wait",
                   100 * pool.at("used_of_pages_mean_while_requests_wait").get<double>(),
                   100 * pool.at("cached_of_pages_mean_while_requests_wait").get<double>(), "filled of these",
                   100 * pool.at("filled_of_used_mean").get<double>(), "running",
                   pool.at("running_mean").get<double>(), "parks", r.at("parks").get<std::uint64_t>());
        return 0;
    }

    const Options options_;
    const Runtime runtime_;
    const Model model_;
    const std::uint32_t vocab_;
};

// ---- the command line ------------------------------------------------------------------------------------

Range parse_range(const std::string& text) {
    const auto number = [&](std::string_view digits) {
        std::uint32_t n = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
        if (error != std::errc() || end != digits.data() + digits.size() || n == 0 || n > (1u << 24))
            throw CLI::ValidationError(text + " is no range of lengths from 1; write 128:1024, or 128");
        return n;
    };
    const std::size_t colon = text.find(':');
    Range r;
    r.min = number(std::string_view(text).substr(0, colon));
    r.max = colon == text.npos ? r.min : number(std::string_view(text).substr(colon + 1));
    if (r.min > r.max) throw CLI::ValidationError(text + " ends before it begins");
    return r;
}

int run(int argc, char** argv) {
    Options o;
    CLI::App program("Measures tern::Engine under load.", "bench_engine");
    CLI::Option* model = program.add_option("-m", o.model, "a GGUF file")->option_text("FILE");
    CLI::Option* shape =
        program.add_option("--shape", o.shape, "random weights of a shape: llama-3.2-1b, tiny-110m, …");
    shape->option_text("NAME")->excludes(model);
    program.add_option("--format", o.format, "… in a format or a mixture (Q4_K_M)")
        ->option_text("NAME")
        ->needs(shape);
    program.add_option("-t", o.threads, "threads")->option_text("N");
    const auto bytes = [&](const char* name, std::uint64_t& value, const char* help) {
        program.add_option(name, value, help)->option_text("BYTES")->transform(CLI::AsSizeValue(false));
    };
    bytes("--kv-memory", o.kv_memory, "for the cache, as 2GiB (enough for all that run at once)");
    bytes("--park-memory", o.park_memory, "for parked sequences (0)");
    program.add_option("--parallel", o.parallel, "most sequences at once (16)")
        ->option_text("N")
        ->check(CLI::Range(1, 4096));
    program.add_option("--prefill-budget", o.prefill_budget, "as EngineOptions::prefill_budget (0)")
        ->option_text("N");
    program.add_option("--requests", o.requests, "how many (64)")
        ->option_text("N")
        ->check(CLI::Range(1, 1000000));
    program.add_option("--rate", o.rate, "arrivals per second, Poisson; 0: all at once (0)")
        ->option_text("R")
        ->check(CLI::Range(0.0, 1e6));
    const auto range = [&](const char* name, Range& value, const char* help) {
        program
            .add_option_function<std::string>(
                name, [&value](const std::string& t) { value = parse_range(t); }, help)
            ->option_text("MIN:MAX");
    };
    range("--prompt", o.prompt, "tokens of a prompt (128:1024)");
    range("--generate", o.generate, "tokens of a reply (32:256)");
    program.add_option("--prefix-share", o.prefix_share, "of each prompt, common to all (0)")
        ->option_text("P")
        ->check(CLI::Range(0.0, 1.0));
    program.add_option("--seed", o.seed, "of arrivals, lengths and prompts (1)")->option_text("N");
    CLI::Option* write =
        program.add_option("--write-load", o.write_load, "write the load, JSON lines, and measure nothing");
    write->option_text("FILE");
    CLI::Option* stall = program.add_flag("--stall", o.stall, "running replies while a prompt is admitted");
    program.add_option("--running", o.running, "… how many (8)")
        ->option_text("N")
        ->needs(stall)
        ->check(CLI::Range(1, 4095));
    program.add_option("--admit", o.admit, "… tokens of the prompt (4096)")
        ->option_text("N")
        ->needs(stall)
        ->check(CLI::Range(1, 1 << 24));
    CLI::Option* prefix =
        program.add_flag("--prefix", o.prefix, "first token with a cached beginning and without");
    prefix->excludes(stall)->excludes(write);
    stall->excludes(write);
    program.add_option("--cold", o.cold, "… tokens of the prompt (2048)")
        ->option_text("N")
        ->needs(prefix)
        ->check(CLI::Range(2, 1 << 24));
    program.add_option("--cached", o.cached, "… of them cached (1984)")->option_text("N")->needs(prefix);
    program.add_option("--repeats", o.repeats, "of --stall and --prefix (5)")
        ->option_text("N")
        ->check(CLI::Range(1, 1000));
    program.add_flag("--json", o.json, "the result as JSON");
    try {
        program.parse(argc, argv);
        if (o.model.empty() && o.shape.empty()) throw UsageError("-m FILE or --shape NAME is wanted");
        if (o.prefix && o.cached >= o.cold) throw UsageError("--cached must be less than --cold");
        if (o.stall && o.running >= o.parallel) throw UsageError("--parallel must be greater than --running");
        return Bench(o).run();
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", program.help());
        return 0;
    } catch (const CLI::ParseError& e) {
        fmt::print(stderr, "bench_engine: {} (see --help)\n", e.what());
    } catch (const UsageError& e) {
        fmt::print(stderr, "bench_engine: {} (see --help)\n", e.what());
    }
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& e) {
        fmt::print(stderr, "bench_engine: {}\n", e.what());
        return 1;
    }
}
