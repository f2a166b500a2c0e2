// Chat templates: a conversation in the form that a model was trained on.
//
// A template is a program in Jinja, as model files carry it in `tokenizer.chat_template`. Tern runs it by itself, with
// the meaning that Jinja 3.1 and the Transformers library give it: trim_blocks and lstrip_blocks on, loop controls,
// `{% generation %}`, tojson as json.dumps writes it, raise_exception, strftime_now. Autoescape is off; include, import
// and extends are refused. Filters that are left out: random, urlize, wordwrap, xmlattr.
//
// Templates are hostile: they reach nothing but their variables, and what one render may cost is bounded (steps,
// nesting, length of strings); a template that costs more is an Error.
//
// Who wrote what: a control token counts only where the template wrote it. A role that is a plain word (letters, digits,
// _ and -) counts as written by the template, because templates make control tokens of roles: '<|' + role + '|>'. Strings carry, through every operation of
// the template, which of their bytes came from outside (messages, tools, further variables); `ChatPrompt::outside`
// says so for the result, and encode_chat reads those bytes as text, whatever they spell. Looking for the contents in
// the finished text instead would not do: templates trim, split and quote contents, and a content may spell what the
// template writes itself.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tern/export.h>
#include <tern/tokenizer.h>

namespace tern {

class Model;

struct ChatMessage {
    std::string role{};  // "system", "user", "assistant", …; the template knows which
    std::string content{};
};

struct ChatOptions {
    bool add_generation_prompt = true;  // end with the head of the assistant's answer
    std::string tools{};                // JSON array of the tools that may be called; empty: none
    std::string variables{};            // JSON object of further variables: {"enable_thinking": false}
    std::string now{};                  // for templates that print the date, "2026-01-15T12:00:00"; empty: local time
};

// The texts of the vocabulary's tokens, as bos_token and eos_token of the template.
struct ChatTokens {
    std::string bos{};
    std::string eos{};
};

struct ChatPrompt {
    std::string text{};
    std::vector<TextRange> outside{};  // bytes that the template did not write; ascending, disjoint
};

// Immutable: use from any number of threads at once. Copies share the parsed template.
class TERN_API ChatTemplate {
public:
    // Error(bad_file) with the line of the template where it is not well-formed.
    explicit ChatTemplate(std::string_view source, ChatTokens tokens = {});
    // bos and eos are the vocabulary's.
    ChatTemplate(std::string_view source, const Tokenizer& tokenizer);

    // Errors name the template's line. Error(invalid_argument): the template refuses the messages or cannot deal with
    // them, or rendering costs too much; a JSON text, `now` or a message is not what it should be. Error(unsupported): a
    // filter or test that Tern does not have.
    ChatPrompt render(const std::vector<ChatMessage>& messages, const ChatOptions& options = {}) const;
    // Messages as JSON: an array of objects, or an object {"messages": […], …} whose other members ("tools",
    // "add_generation_prompt", "documents", …) are variables of the template and go before the options.
    ChatPrompt render_json(std::string_view messages, const ChatOptions& options = {}) const;

private:
    struct Impl;
    std::shared_ptr<const Impl> impl_;
};

// The ids of a prompt: control tokens are recognised where the template wrote them and nowhere else. The vocabulary's
// bos is put in front unless the text begins with it; no eos is added, because an answer follows.
TERN_API std::vector<TokenId> encode_chat(const Tokenizer& tokenizer, const ChatPrompt& prompt);

// Renders with the model's own template and encodes. Error(unsupported) if the model has none.
TERN_API std::vector<TokenId> encode_chat(const Model& model, const std::vector<ChatMessage>& messages,
                                          const ChatOptions& options = {});

}  // namespace tern
