#include <tern/chat.h>

#include <new>
#include <optional>

#include "chat/dates.h"
#include "chat/filters.h"
#include "chat/interpreter.h"
#include "chat/json.h"

namespace tern {

struct ChatTemplate::Impl {
    std::unique_ptr<const chat::Tree> tree;
    ChatTokens tokens;

    // `fill` adds the variables that the messages make.
    template <class Fill>
    ChatPrompt render(const ChatOptions& options, const Fill& fill) const {
        try {
            chat::check_date(options.now);
            chat::Context context(options.now);
            chat::Globals globals;
            chat::add_functions(context, globals);
            globals["bos_token"] = context.string(tokens.bos);
            globals["eos_token"] = context.string(tokens.eos);
            globals["add_generation_prompt"] = chat::Value::of(options.add_generation_prompt);
            globals["tools"] = chat::Value::none();
            globals["documents"] = chat::Value::none();
            if (!options.tools.empty()) globals["tools"] = parse_json(context, options.tools, "ChatOptions::tools");
            if (!options.variables.empty()) {
                constexpr std::string_view what = "ChatOptions::variables";
                const chat::Value variables = parse_json(context, options.variables, what);
                if (!variables.is(chat::Kind::dict))
                    throw Error(ErrorCode::invalid_argument, std::string(what) + ": a JSON object is needed");
                add_members(variables, globals);
            }
            fill(context, globals);
            const chat::Text text = chat::Interpreter(context, *tree, globals).run();
            return {text.bytes(), text.foreign_ranges()};
        } catch (const std::bad_alloc&) {
            throw Error(ErrorCode::out_of_memory, "chat template: not enough memory to render it; give less text");
        }
    }

    static void add_members(const chat::Value& dict, chat::Globals& globals) {
        for (const auto& [key, value] : dict.dict->items) globals[key.view()] = value;
    }
};

namespace {

std::string text_of(const Tokenizer& tokenizer, std::optional<TokenId> id) {
    return id ? std::string(tokenizer.token_text(*id)) : std::string();
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, ChatTokens tokens) {
    auto impl = std::make_shared<Impl>();
    impl->tree = chat::parse_template(source);
    impl->tokens = std::move(tokens);
    impl_ = std::move(impl);
}

ChatTemplate::ChatTemplate(std::string_view source, const Tokenizer& tokenizer)
    : ChatTemplate(source, ChatTokens{text_of(tokenizer, tokenizer.bos()), text_of(tokenizer, tokenizer.eos())}) {}

ChatPrompt ChatTemplate::render(const std::vector<ChatMessage>& messages, const ChatOptions& options) const {
    return impl_->render(options, [&](chat::Context& context, chat::Globals& globals) {
        chat::List* list = context.new_list();
        for (const ChatMessage& message : messages) {
            chat::Dict* entry = context.new_dict();
            const auto put = [&](const char* key, chat::Text value) {
                entry->set(context, context.string(std::string(key)), context.string(std::move(value)));
            };
            put("role", chat::Text::role(message.role));
            put("content", chat::Text::foreign(message.content));
            context.push(*list, chat::Value::of(entry));
        }
        globals["messages"] = chat::Value::of(list);
    });
}

ChatPrompt ChatTemplate::render_json(std::string_view messages, const ChatOptions& options) const {
    return impl_->render(options, [&](chat::Context& context, chat::Globals& globals) {
        const chat::Value value = chat::parse_json(context, messages, "messages");
        if (value.is(chat::Kind::dict))
            Impl::add_members(value, globals);
        else
            globals["messages"] = value;
        const auto found = globals.find("messages");
        if (found == globals.end() || !found->second.is(chat::Kind::list))
            throw Error(ErrorCode::invalid_argument,
                        "messages: a JSON array of messages is needed, or an object with such an array as \"messages\"");
    });
}

std::vector<TokenId> encode_chat(const Tokenizer& tokenizer, const ChatPrompt& prompt) {
    std::vector<TokenId> ids =
        tokenizer.encode(prompt.text, {.add_special = false, .parse_special = true, .literal = prompt.outside});
    const std::optional<TokenId> bos = tokenizer.bos();
    if (tokenizer.adds_bos() && bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
    return ids;
}

}  // namespace tern
