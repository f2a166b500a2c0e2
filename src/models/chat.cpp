#include <tern/chat.h>
#include <tern/error.h>
#include <tern/model.h>

namespace tern {

std::vector<TokenId> encode_chat(const Model& model, const std::vector<ChatMessage>& messages,
                                 const ChatOptions& options) {
    const std::optional<std::string> source = model.chat_template();
    if (!source)
        throw Error(ErrorCode::unsupported, "the model '" + model.info().name +
                                                "' has no chat template (tokenizer.chat_template); prompt it with plain text");
    return encode_chat(model.tokenizer(), ChatTemplate(*source, model.tokenizer()).render(messages, options));
}

}  // namespace tern
