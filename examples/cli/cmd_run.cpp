// tern run: completes a prompt.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "interrupt.h"
#include "run.h"

namespace tern::cli {
namespace {

std::vector<TokenId> parse_ids(const std::string& text) {
    std::vector<TokenId> ids;
    std::size_t begin = 0;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        const std::string item = CLI::detail::trim_copy(text.substr(begin, end - begin));
        TokenId id = 0;
        const auto [rest, error] = std::from_chars(item.data(), item.data() + item.size(), id);
        if (error != std::errc() || rest != item.data() + item.size() || id < 0)
            throw UsageError(fmt::format("--ids: '{}' is not a token id; write --ids 1,2,3", item));
        ids.push_back(id);
        begin = end + 1;
    }
    return ids;
}

std::string prompt_text(const RunOptions& options) {
    if (options.has_prompt && options.prompt != "-") return options.prompt;
    if (!options.has_prompt && isatty(STDIN_FILENO)) print_note("type the prompt; Ctrl-D ends it");
    std::string text = read_stdin();
    // The line break that echo and editors put at the end is not part of the prompt.
    if (text.ends_with('\n')) text.pop_back();
    return text;
}

}  // namespace

std::vector<TokenId> encode_prompt(const Model& model, const std::string& prompt, const RunOptions& options) {
    if (options.raw || !model.chat_template()) return model.tokenizer().encode(prompt);
    std::vector<ChatMessage> messages;
    if (!options.system.empty()) messages.push_back({"system", options.system});
    messages.push_back({"user", prompt});
    try {
        return encode_chat(model, messages);
    } catch (const Error& e) {
        throw Error(e.code(), fmt::format("{}; --raw prompts without the template", e.what()));
    }
}

void note_missing_template(const Model& model, const RunOptions& options) {
    if (options.raw || model.chat_template()) return;
    if (!options.system.empty())
        throw Error(ErrorCode::unsupported,
                    "the model has no chat template, so there is no place for --system; put it into the prompt");
    print_note("the model has no chat template: the prompt is used as it is (--raw says so)");
}

Request request_of(const RunOptions& options) {
    constexpr std::uint32_t kMaxTokens = 256;
    Request request;
    request.sampling = options.sampling;
    request.max_tokens = options.max_tokens.value_or(kMaxTokens);
    // A number of tokens that was asked for is given or refused; the default is only a limit.
    request.when_full = options.when_full.value_or(options.max_tokens ? ContextPolicy::refuse : ContextPolicy::stop);
    request.keep = options.keep;
    return request;
}

namespace {

int run(const RunOptions& options) {
    if (!options.prompts.empty()) return run_many(options);
    Request request = request_of(options);
    std::string prompt;
    if (!options.ids.empty())
        request.prompt_tokens = parse_ids(options.ids);
    else
        prompt = prompt_text(options);

    const Stopwatch loading;
    const Runtime runtime = make_runtime(options.runtime);
    const Model model = load_model(runtime, model_path(options.model), options.runtime.lock, options.pre);
    if (options.ids.empty()) {
        note_missing_template(model, options);
        request.prompt_tokens = encode_prompt(model, prompt, options);
    }
    // No more of the cache than this request can fill.
    EngineOptions engine_options{.context = options.context, .kv_type = options.kv_type, .parallel = 1};
    if (options.context == 0) {
        const std::uint64_t most = request.prompt_tokens.size() + std::uint64_t{request.max_tokens};
        engine_options.context = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, model.info().context_length));
    }
    Engine engine = open_on<Engine>(model, engine_options);
    const double load_ms = loading.ms();

    Reply reply = [&] {
        try {
            return engine.submit(std::move(request));
        } catch (const Error& e) {
            if (e.code() != ErrorCode::context_full) throw;
            throw Error(e.code(), fmt::format("{} (--ctx, --on-full stop or slide)", e.what()));
        }
    }();
    std::string text;
    FinishReason reason;
    {
        // A second Ctrl-C ends the program as usual.
        const OnInterrupt cancel([&reply] { reply.cancel(); }, true);
        const bool terminal = stdout_is_terminal();
        for (const Piece& piece : reply) {
            text += piece.text;
            if (!options.json) print_out(terminal ? printable(piece.text, true) : piece.text);
        }
        reason = reply.finish_reason();
    }
    if (!options.json && reason != FinishReason::error) print_out("\n");

    const Timings t = reply.timings();
    const double prompt_rate = per_second(t.prompt_tokens, t.prompt_ms);
    // The first token belongs to the prompt's time; an end token was computed like the others.
    const std::uint32_t later = t.generated_tokens + (reason == FinishReason::stop ? 1u : 0u);
    const double rate = per_second(later > 0 ? later - 1 : 0, t.generate_ms);
    if (reason == FinishReason::error) throw *reply.error();
    if (options.json) {
        nlohmann::ordered_json document;
        document["prompt_tokens"] = reply.prompt_tokens();
        document["tokens"] = reply.tokens();
        document["text"] = text;
        document["finish_reason"] = to_string(reason);
        document["timings"] = {{"load_ms", load_ms},
                               {"prompt_ms", t.prompt_ms},
                               {"prompt_tokens_per_second", prompt_rate},
                               {"first_token_ms", t.first_token_ms},
                               {"tokens_per_second", rate}};
        print_json(document);
    }
    if (options.runtime.verbose || (!options.json && stderr_is_terminal()))
        print_note(fmt::format("loaded in {:.0f} ms · prompt {} tokens, {:.1f}/s · first token {:.0f} ms · {} tokens, "
                               "{:.1f}/s · {}",
                               load_ms, t.prompt_tokens, prompt_rate, t.first_token_ms, t.generated_tokens, rate,
                               to_string(reason)));
    if (const std::uint32_t dropped = reply.dropped())
        print_note(fmt::format("the context of {} tokens was full: {} older tokens were dropped on the way; --ctx sets another "
                               "size",
                               engine.context(), dropped));
    if (reason == FinishReason::context_full)
        print_note(fmt::format("the context of {} tokens is full: {} of prompt, {} generated; --ctx sets another size",
                               engine.context(), t.prompt_tokens, t.generated_tokens));
    return reason == FinishReason::cancelled ? kInterrupted : 0;
}

}  // namespace

void add_run(CLI::App& program, Action& action) {
    const auto o = std::make_shared<RunOptions>();
    CLI::App* command = add_command(program, action, "run", "Completes a prompt and streams the text.", o, run);
    command->add_option("PROMPT", o->prompt, "what to say to the model; stdin where absent or -")->each([o](const std::string&) {
        o->has_prompt = true;
    });
    command->add_option("-n", o->max_tokens, "most tokens to generate (256)")->option_text("N")->check(CLI::PositiveNumber);
    command->add_option("--ctx", o->context, "context in tokens (as much as is needed)")->option_text("N");
    command
        ->add_option_function<std::string>(
            "--on-full",
            [o](const std::string& name) {
                o->when_full = name == "refuse" ? ContextPolicy::refuse
                               : name == "stop" ? ContextPolicy::stop
                                                : ContextPolicy::slide;
            },
            "a full context: refuse (before), stop (there), slide (drop the oldest)")
        ->option_text("POLICY")
        ->check(CLI::IsMember({"refuse", "stop", "slide"}));
    command->add_option("--keep", o->keep, "with slide: first tokens that always stay (0)")->option_text("N");
    add_kv_type_option(command, o->kv_type);
    command->add_option("--ids", o->ids, "token ids instead of a text: 1,2,3")->option_text("IDS")->excludes("PROMPT");
    CLI::Option* raw = command->add_flag("--raw", o->raw, "a text to continue, without the model's chat template");
    command->add_option("--system", o->system, "instructions, as the chat's system message")
        ->option_text("TEXT")
        ->excludes(raw)
        ->excludes("--ids");
    CLI::Option* many = command->add_option("--parallel", o->prompts, "a file of prompts, one a line, - for stdin: answers as JSONL")
                            ->option_text("FILE")
                            ->excludes("PROMPT")
                            ->excludes("--ids");
    command->add_option("--out", o->out, "where --parallel appends; goes on where it was cut off")->option_text("FILE")->needs(many);
    command->add_option("--jobs", o->jobs, "answers that --parallel computes at once (16)")
        ->option_text("N")
        ->needs(many)
        ->check(CLI::Range(1, 4096));
    add_size_option(command, "--kv-memory", o->kv_memory, "KV cache that they share (up to 1 GiB)")->needs(many);
    add_sampling_options(command, o->sampling);
    command->add_flag("--json", o->json, "ids, text and timings as one JSON document")->excludes(many);
    add_model_option(command, o->model);
    add_pre_option(command, o->pre);
    add_runtime_options(command, o->runtime);
    command->footer("Example:\n  tern run -m model.gguf --temp 0 -n 64 \"Once upon a time\"");
}

}  // namespace tern::cli
