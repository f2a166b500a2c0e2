// tern render: what a chat template makes of messages.
#include <optional>

#include <fmt/format.h>

#include "common.h"

namespace tern::cli {
namespace {

bool is_special(const Tokenizer& tokenizer, TokenId id) {
    const TokenType type = tokenizer.token_type(id);
    return type == TokenType::control || type == TokenType::user_defined || type == TokenType::unknown;
}

struct RenderOptions {
    std::string model;
    std::string pre;
    std::string file;
    std::string messages;
    std::optional<std::string> bos;
    std::optional<std::string> eos;
    std::string now;
    bool tokens = false;
    bool json = false;
};

// One line a token: its id, a star if it is special, and its text.
std::string table(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    std::string out;
    for (const TokenId id : ids)
        out += fmt::format("{:>8} {} {}\n", id, is_special(tokenizer, id) ? '*' : ' ', printable(tokenizer.token_bytes(id)));
    return out;
}

int run(const RenderOptions& options) {
    if ((options.json || options.tokens) && !options.file.empty() && options.model.empty())
        throw UsageError("token ids need a vocabulary: give -m too");
    std::optional<Tokenizer> tokenizer;
    std::string source;
    ChatTokens tokens;
    if (options.file.empty() || !options.model.empty()) {
        // The vocabulary and the template alone: no runtime, no weights.
        const auto file = gguf::File::open(model_path(options.model), {.need_data = false});
        tokenizer = Tokenizer::from_gguf(file, {.pre = options.pre});
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
    if (!options.json && !options.tokens) {
        print_out(prompt.text);
        return 0;
    }
    const std::vector<TokenId> ids = encode_chat(*tokenizer, prompt);
    if (!options.json) {
        print_out(table(*tokenizer, ids));
        return 0;
    }
    nlohmann::ordered_json special = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < ids.size(); ++i)
        if (is_special(*tokenizer, ids[i])) special.push_back({{"at", i}, {"id", ids[i]}, {"text", tokenizer->token_text(ids[i])}});
    print_json({{"text", prompt.text}, {"tokens", ids}, {"special", special}});
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
    command->add_flag("--tokens", o->tokens, "token ids and their texts instead, special ones with a star");
    command->add_flag("--json", o->json, "text, token ids and which are special, as one JSON document");
    add_model_option(command, o->model);
    add_pre_option(command, o->pre);
    command->footer("Example:\n  tern render -m model.gguf --messages chat.json");
}

}  // namespace tern::cli
