// tern chat: a conversation in the terminal.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "common.h"
#include "interrupt.h"
#include "line_reader.h"

namespace tern::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct ChatArgs {
    std::string model;
    std::string pre;
    RuntimeArgs runtime;
    std::string system;
    std::optional<std::uint32_t> max_tokens;
    std::uint32_t context = 0;
    KvType kv_type = KvType::f16;
    SamplerOptions sampling;
    std::string load;
};

constexpr const char* kHelp =
    "/help          this list\n"
    "/clear         a new conversation\n"
    "/system TEXT   instructions for the model; without TEXT none\n"
    "/regen         another answer in place of the last one\n"
    "/save FILE     the conversation as JSON lines, and its KV cache in FILE.kv\n"
    "/load FILE     a saved conversation\n"
    "/stats         tokens and times of the last answer, the context used\n"
    "/exit          the end, as is Ctrl-D; Ctrl-C stops an answer";

// To stderr, as all that is no answer.
void print_help() { std::fprintf(stderr, "%s\n", kHelp); }

class Chat {
public:
    explicit Chat(const ChatArgs& options);
    int run();

private:
    bool command(const std::string& line);  // false: the end
    void say(const std::string& text);
    void regenerate();
    // Answers the conversation, whose last message is the user's. False: there is no answer, and it says why.
    bool answer();
    void save(const fs::path& path);
    void load(const fs::path& path);
    void stats() const;
    std::vector<TokenId> encode(bool generation) const;
    void note_full(std::size_t tokens) const;
    std::size_t first_turn() const { return !messages_.empty() && messages_[0].role == "system" ? 1 : 0; }

    const ChatArgs& options_;
    Runtime runtime_;
    Model model_;
    ChatTemplate template_;
    Engine engine_;
    LineReader lines_;
    std::vector<ChatMessage> messages_;
    std::uint64_t seed_;  // of the next answer
    Timings last_{};
    std::size_t used_ = 0;  // positions of the context after the last answer

    std::mutex mutex_;         // guards running_
    Reply* running_ = nullptr;  // what Ctrl-C stops
};

ChatTemplate own_template(const Model& model) {
    const std::optional<std::string> source = model.chat_template();
    if (source) return ChatTemplate(*source, model.tokenizer());
    print_note(fmt::format("{}: the model has no chat template, so it was hardly trained to converse: it is given the messages as "
                           "plain text, a line each",
                           model.info().name));
    return ChatTemplate("{% for message in messages %}{{ message['content'] }}\n{% endfor %}", model.tokenizer());
}

Chat::Chat(const ChatArgs& options)
    : options_(options),
      runtime_(make_runtime(options.runtime)),
      model_(load_model(runtime_, model_path(options.model), options.runtime.lock, options.pre)),
      template_(own_template(model_)),
      engine_(open_on<Engine>(
          model_, EngineOptions{.context = options.context, .kv_type = options.kv_type, .parallel = 1})),
      lines_("tern"),
      seed_(options.sampling.seed) {
    if (!options.system.empty()) messages_.push_back({"system", options.system});
}

std::vector<TokenId> Chat::encode(bool generation) const {
    return encode_chat(model_.tokenizer(), template_.render(messages_, {.add_generation_prompt = generation}));
}

int Chat::run() {
    const OnInterrupt guard(
        [this] {
            const std::lock_guard lock(mutex_);
            if (running_ != nullptr)
                running_->cancel();
            else
                lines_.interrupt();
        },
        false);
    if (lines_.terminal())
        print_note(fmt::format("{}, {}, a context of {} tokens; /help, Ctrl-D ends", model_.info().name,
                               model_.info().format, with_commas(engine_.context())));
    if (!options_.load.empty()) load(options_.load);
    std::string line;
    for (;;) {
        switch (lines_.read("> ", line)) {
            case LineEnd::end: return 0;
            case LineEnd::interrupted:
                // There is no line to clear where nobody types.
                if (!lines_.terminal()) return kInterrupted;
                continue;
            case LineEnd::line: break;
        }
        if (line.find_first_not_of(" \t") == line.npos) continue;
        try {
            if (!line.starts_with('/'))
                say(line);
            else if (!command(line))
                return 0;
        } catch (const Error& e) {
            // Nobody reads the answers any more.
            if (std::ferror(stdout) != 0) throw;
            print_error(e.what());
        }
    }
}

bool Chat::command(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string name = CLI::detail::trim_copy(line.substr(0, space));
    const std::string rest = space == line.npos ? "" : CLI::detail::trim_copy(line.substr(space));
    const auto need = [&](const char* what) {
        if (rest.empty()) print_note(fmt::format("{} needs {}: {} FILE", name, what, name));
        return !rest.empty();
    };
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help") {
        print_help();
    } else if (name == "/clear") {
        messages_.resize(first_turn());
        used_ = 0;
        last_ = {};
        print_note("a new conversation");
    } else if (name == "/system") {
        messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(first_turn()));
        if (!rest.empty()) messages_.insert(messages_.begin(), {"system", rest});
        print_note(rest.empty() ? "no instructions" : "these instructions stand from now on");
    } else if (name == "/regen") {
        regenerate();
    } else if (name == "/save") {
        if (need("a file")) save(rest);
    } else if (name == "/load") {
        if (need("a file")) load(rest);
    } else if (name == "/stats") {
        stats();
    } else {
        print_note(fmt::format("{} is no command; /help lists them, and a space in front says it to the model", name));
    }
    return true;
}

void Chat::say(const std::string& text) {
    messages_.push_back({"user", text});
    bool answered = false;
    try {
        answered = answer();
    } catch (...) {
        messages_.pop_back();
        throw;
    }
    if (!answered) messages_.pop_back();
}

void Chat::regenerate() {
    if (messages_.empty() || messages_.back().role != "assistant") {
        print_note("there is no answer to give again");
        return;
    }
    const ChatMessage before = messages_.back();
    messages_.pop_back();
    ++seed_;
    bool answered = false;
    try {
        answered = answer();
    } catch (...) {
        messages_.push_back(before);
        throw;
    }
    if (!answered) messages_.push_back(before);
}

void Chat::note_full(std::size_t tokens) const {
    print_note(fmt::format("the context is full: {} of its {} tokens are taken. The conversation is kept; go on with /clear, or "
                           "/save it, start again with --ctx and a greater number, and /load it",
                           with_commas(tokens), with_commas(engine_.context())));
}

bool Chat::answer() {
    Request request;
    request.prompt_tokens = encode(true);
    const std::size_t prompt = request.prompt_tokens.size();
    if (prompt > engine_.context()) {
        note_full(prompt);
        print_note("what you said last was not taken up");
        return false;
    }
    request.max_tokens = options_.max_tokens.value_or(engine_.context());
    request.when_full = ContextPolicy::stop;
    request.sampling = options_.sampling;
    request.sampling.seed = seed_;
    lines_.forget_interrupt();
    Reply reply = engine_.submit(std::move(request));
    struct Running {
        Chat& chat;
        Running(Chat& c, Reply& r) : chat(c) {
            const std::lock_guard lock(chat.mutex_);
            chat.running_ = &r;
        }
        ~Running() {
            const std::lock_guard lock(chat.mutex_);
            chat.running_ = nullptr;
        }
    };
    std::string text;
    FinishReason reason;
    {
        const Running running(*this, reply);
        const bool terminal = stdout_is_terminal();
        for (const Piece& piece : reply) {
            text += piece.text;
            print_out(terminal ? printable(piece.text, true) : piece.text);
        }
        reason = reply.finish_reason();
    }
    if (!text.empty() || reason != FinishReason::error) print_out("\n");
    last_ = reply.timings();
    used_ = prompt + reply.tokens().size();
    if (reason == FinishReason::error) throw *reply.error();
    if (reason == FinishReason::cancelled && text.empty()) {
        print_note("stopped before the first word; what you said last was not taken up");
        return false;
    }
    messages_.push_back({"assistant", text});
    if (reason == FinishReason::cancelled) print_note("stopped; /regen answers again");
    if (reason == FinishReason::length && options_.max_tokens)
        print_note(fmt::format("cut at {} tokens (-n)", last_.generated_tokens));
    if (reason == FinishReason::context_full || (reason == FinishReason::length && !options_.max_tokens)) note_full(used_);
    if (options_.runtime.verbose) stats();
    return true;
}

void Chat::stats() const {
    print_note(fmt::format("prompt {} tokens, {} of them cached · first token {:.0f} ms · {} tokens, {:.1f}/s · context {} of {}",
                           last_.prompt_tokens, last_.cached_tokens, last_.first_token_ms, last_.generated_tokens,
                           per_second(last_.generated_tokens > 0 ? last_.generated_tokens - 1 : 0, last_.generate_ms),
                           used_, engine_.context()));
}

fs::path cache_of(const fs::path& path) {
    fs::path cache = path;
    return cache += ".kv";
}

void Chat::save(const fs::path& path) {
    if (messages_.empty()) {
        print_note("there is nothing to save yet");
        return;
    }
    std::string text;
    for (const ChatMessage& m : messages_)
        text += Json{{"role", m.role}, {"content", m.content}}.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    // An old file stands until the new one is whole.
    fs::path part = path;
    part += ".part";
    std::ofstream out(part, std::ios::binary);
    out << text;
    out.close();
    std::error_code error;
    if (out) fs::rename(part, path, error);
    if (!out || error) {
        const std::string why = error ? error.message() : std::strerror(errno);
        fs::remove(part, error);
        throw Error(ErrorCode::io, fmt::format("'{}' cannot be written: {}", path.string(), why));
    }
    try {
        engine_.save(encode(false), cache_of(path));
    } catch (const Error& e) {
        fs::remove(cache_of(path), error);
        print_note(fmt::format("saved without the KV cache, so that loading takes longer: {}", e.what()));
        return;
    }
    print_note(fmt::format("saved {} messages, and the KV cache in {}", messages_.size(), cache_of(path).string()));
}

void Chat::load(const fs::path& path) {
    const std::string text = read_bytes(path);
    std::vector<ChatMessage> messages;
    std::size_t number = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        const std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        ++number;
        if (line.empty()) continue;
        const Json object = Json::parse(line, nullptr, false);
        const auto member = [&](const char* key) {
            const auto at = object.is_object() ? object.find(key) : object.end();
            if (!object.is_object() || at == object.end() || !at->is_string())
                throw Error(ErrorCode::bad_file,
                            fmt::format("'{}', line {}: no message; each line is {{\"role\": …, \"content\": …}}",
                                        path.string(), number));
            return at->get<std::string>();
        };
        messages.push_back({member("role"), member("content")});
    }
    messages_ = std::move(messages);
    last_ = {};
    std::error_code ignored;
    std::size_t cached = 0;
    if (fs::exists(cache_of(path), ignored)) {
        try {
            cached = engine_.restore(cache_of(path)).size();
        } catch (const Error& e) {
            print_note(fmt::format("the KV cache is computed again: {}", e.what()));
        }
    }
    used_ = cached;
    print_note(fmt::format("loaded {} messages{}", messages_.size(),
                           cached > 0 ? fmt::format(", with the KV cache of {} tokens", with_commas(cached)) : ""));
}

int run(const ChatArgs& options) {
    Chat chat(options);
    return chat.run();
}

}  // namespace

void add_chat(CLI::App& program, Action& action) {
    const auto o = std::make_shared<ChatArgs>();
    CLI::App* command = add_command(program, action, "chat", "A conversation in the terminal; /help lists its commands.", o, run);
    command->add_option("-n", o->max_tokens, "most tokens of an answer (what the context holds)")
        ->option_text("N")
        ->check(CLI::PositiveNumber);
    command->add_option("--ctx", o->context, "context in tokens (the model's, or what memory holds)")->option_text("N");
    add_kv_type_option(command, o->kv_type);
    command->add_option("--system", o->system, "instructions, as the chat's system message")->option_text("TEXT");
    command->add_option("--load", o->load, "a conversation that /save wrote")->option_text("FILE");
    add_sampling_options(command, o->sampling);
    add_model_option(command, o->model);
    add_pre_option(command, o->pre);
    add_runtime_options(command, o->runtime);
    command->footer("Example:\n  tern chat -m model.gguf --system \"You answer in one sentence.\"");
}

}  // namespace tern::cli
