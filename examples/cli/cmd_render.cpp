// tern render: what a chat template makes of messages.
#include <optional>

#include <fmt/format.h>

#include "common.h"

namespace tern::cli {
namespace {

struct RenderOptions {
    std::string model;
    std::string file;
    std::string messages;
    std::optional<std::string> bos;
    std::optional<std::string> eos;
    std::string now;
    bool json = false;
};

int run(const RenderOptions& options) {
    if (options.json && !options.file.empty() && options.model.empty())
        throw UsageError("--json prints token ids, which need a vocabulary: give -m too");
    std::optional<Tokenizer> tokenizer;
    std::string source;
    ChatTokens tokens;
    if (options.file.empty() || !options.model.empty()) {
        // The vocabulary and the template alone: no runtime, no weights.
        const auto file = gguf::File::open(model_path(options.model), {.need_data = false});
        tokenizer = Tokenizer::from_gguf(file);
        const gguf::Value* own = file.find("tokenizer.chat_template");
        if (options.file.empty() && !own)
            throw Error(ErrorCode::not_found, fmt::format("{}: key 'tokenizer.chat_template' is missing: the model has no "
                                                          "chat template; name one with --template", file.name()));
        if (options.file.empty()) source = own->as_string();
        if (const auto id = tokenizer->bos()) tokens.bos = tokenizer->token_text(*id);
        if (const auto id = tokenizer->eos()) tokens.eos = tokenizer->token_text(*id);
    }
    if (!options.file.empty()) source = read_bytes(options.file);
    if (options.bos) tokens.bos = *options.bos;
    if (options.eos) tokens.eos = *options.eos;

    const std::string messages = options.messages == "-" ? read_stdin() : read_bytes(options.messages);
    // As the Transformers library: the answer's head only where it is asked for.
    const ChatPrompt prompt = ChatTemplate(source, tokens)
                                  .render_json(messages, {.add_generation_prompt = false, .now = options.now});
    if (options.json)
        print_json({{"text", prompt.text}, {"tokens", encode_chat(*tokenizer, prompt)}});
    else
        print_out(prompt.text);
    return 0;
}

}  // namespace

void add_render(CLI::App& program, Action& action) {
    const auto o = std::make_shared<RenderOptions>();
    CLI::App* command =
        add_command(program, action, "render", "Prints the text that a chat template makes of messages.", o, run);
    command->add_option("--template", o->file, "the template; the model's own where absent")->option_text("FILE");
    command->add_option("--messages", o->messages, "JSON: {messages, tools, add_generation_prompt, …}; - for stdin")
        ->option_text("FILE")
        ->required();
    command->add_option("--bos", o->bos, "bos_token (the vocabulary's)")->option_text("TEXT");
    command->add_option("--eos", o->eos, "eos_token (the vocabulary's)")->option_text("TEXT");
    command->add_option("--now", o->now, "for templates that print the date: 2026-01-15T12:00:00")->option_text("TIME");
    command->add_flag("--json", o->json, "text and token ids as one JSON document");
    add_model_option(command, o->model);
    command->footer("Example:\n  tern render -m model.gguf --messages chat.json");
}

}  // namespace tern::cli
