#include <tern/tokenizer.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tern/error.h>
#include <tern/gguf.h>

#include "gguf/cursor.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/tokenizer_impl.h"
#include "tokenizer/utf8.h"

namespace tern {

namespace {

constexpr std::string_view kModelKey = "tokenizer.ggml.model";
constexpr std::string_view kPreKey = "tokenizer.ggml.pre";

TokenizerKind read_kind(const gguf::File& file) {
    const std::string_view model = file.get(kModelKey).as_string();
    if (model == "llama") return TokenizerKind::sentencepiece;
    if (model == "t5") return TokenizerKind::unigram;
    if (model == "gpt2") return TokenizerKind::byte_bpe;
    if (model == "bert") return TokenizerKind::wordpiece;
    if (model == "no_vocab" || model == "none") return TokenizerKind::none;
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: key '{}': the tokeniser {} is not known; known are llama, t5, gpt2, bert and no_vocab",
                            file.name(), kModelKey, gguf::quoted(model)));
}

const tokenizer::PreTokenizer& choose_pre(const gguf::File& file, const TokenizerOptions& options) {
    std::string_view name = options.pre;
    if (name.empty()) {
        if (const gguf::Value* value = file.find(kPreKey)) name = value->as_string();
    }
    if (const tokenizer::PreTokenizer* pre = tokenizer::find_pre_tokenizer(name)) return *pre;
    const std::string known = fmt::format("{}", fmt::join(Tokenizer::pre_tokenizers(), ", "));
    if (!options.pre.empty()) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("TokenizerOptions::pre: '{}' is not known; known are {}", name, known));
    }
    const std::string problem =
        name.empty() ? "missing, so the split pattern is not known" : gguf::quoted(name) + " is not known";
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: key '{}': {}; name the one it should be in TokenizerOptions::pre; known are {}",
                            file.name(), kPreKey, problem, known));
}

// Rows of the model's output, for a file without tokens.
std::size_t model_vocab_size(const gguf::File& file) {
    const std::string architecture = file.string_or("general.architecture", "");
    if (const gguf::Value* size = file.find(architecture + ".vocab_size")) return size->as_u32();
    const gguf::Tensor* embeddings = file.find_tensor("token_embd.weight");
    return embeddings && embeddings->rank >= 2 ? static_cast<std::size_t>(embeddings->shape[1]) : 0;
}

// Phi-3's tokenizer.json marks its added tokens "rstrip": they take the white space behind them. GGUF has no key for
// that. https://huggingface.co/microsoft/Phi-3-mini-4k-instruct/blob/main/tokenizer.json
std::vector<bool> right_stripping(const gguf::File& file, TokenizerKind kind, const tokenizer::Vocabulary& words) {
    if (kind != TokenizerKind::sentencepiece || file.string_or("general.architecture", "") != "phi3") return {};
    std::vector<bool> strips(words.size());
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto id = static_cast<TokenId>(i);
        const std::string_view text = words.text(id);
        const TokenType type = words.type(id);
        strips[i] = (type == TokenType::control || type == TokenType::user_defined) && text != "<unk>" &&
                    text != "<s>" && text != "<|endoftext|>";
    }
    return strips;
}

}  // namespace

const char* to_string(TokenizerKind kind) noexcept {
    switch (kind) {
        case TokenizerKind::none: return "none";
        case TokenizerKind::sentencepiece: return "sentencepiece";
        case TokenizerKind::unigram: return "unigram";
        case TokenizerKind::byte_bpe: return "byte_bpe";
        case TokenizerKind::wordpiece: return "wordpiece";
    }
    return "unknown";
}

const tokenizer::Vocabulary& Tokenizer::Impl::words() const {
    if (vocabulary) return *vocabulary;
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: the file has no vocabulary (key '{}' is 'no_vocab'); give and take token ids", file,
                            kModelKey));
}

void Tokenizer::Impl::check(TokenId id) const {
    if (words().contains(id)) return;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("token id {} is outside the vocabulary of {} tokens", id, vocab_size));
}

TokenId Tokenizer::Impl::begin_token() const noexcept {
    if (!adds_bos) return -1;
    return (kind == TokenizerKind::wordpiece ? vocabulary->cls : vocabulary->bos).value_or(-1);
}

TokenId Tokenizer::Impl::end_token() const noexcept {
    if (!adds_eos) return -1;
    return (kind == TokenizerKind::wordpiece ? vocabulary->sep : vocabulary->eos).value_or(-1);
}

bool Tokenizer::Impl::is_added(TokenId id) const noexcept {
    const TokenType type = vocabulary->type(id);
    return type == TokenType::control || type == TokenType::user_defined;
}

void Tokenizer::Impl::append_text(TokenId id, bool skip_special, bool& text_begins, std::string& out) const {
    const bool begins = std::exchange(text_begins, is_added(id));
    if (vocabulary->is_special(id) || vocabulary->type(id) == TokenType::user_defined) {
        if (!skip_special || !vocabulary->is_special(id)) out.append(vocabulary->text(id));
        return;
    }
    const std::size_t before = out.size();
    algorithm->append_bytes(id, out);
    if (out.size() == before) {
        text_begins = begins;
    } else if (begins && algorithm->adds_space() && out[before] == ' ') {
        out.erase(before, 1);
    }
}

Tokenizer::Tokenizer(std::shared_ptr<const Impl> impl) noexcept : impl_(std::move(impl)) {}

Tokenizer Tokenizer::from_gguf(const gguf::File& file, const TokenizerOptions& options) {
    auto impl = std::make_shared<Impl>();
    impl->file = file.name();
    impl->kind = read_kind(file);
    if (impl->kind == TokenizerKind::none) {
        impl->vocab_size = model_vocab_size(file);
        return Tokenizer(std::move(impl));
    }
    impl->vocabulary = std::make_unique<tokenizer::Vocabulary>(file, impl->kind);
    const tokenizer::Vocabulary& words = *impl->vocabulary;
    impl->vocab_size = words.size();
    bool adds_bos = true;
    bool adds_eos = false;
    switch (impl->kind) {
        case TokenizerKind::sentencepiece:
            impl->algorithm = tokenizer::make_sentencepiece(file, words);
            break;
        case TokenizerKind::unigram:
            impl->algorithm = tokenizer::make_unigram(file, words);
            adds_bos = false;
            adds_eos = true;
            break;
        case TokenizerKind::byte_bpe: {
            const tokenizer::PreTokenizer& pre = choose_pre(file, options);
            impl->pre = pre.name;
            impl->algorithm = tokenizer::make_byte_bpe(file, words, pre);
            adds_bos = pre.adds_bos;
            break;
        }
        default:
            impl->algorithm = tokenizer::make_wordpiece(file, words);
            adds_eos = true;
    }
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto id = static_cast<TokenId>(i);
        const TokenType type = words.type(id);
        if (type == TokenType::user_defined) impl->user_defined.insert(words.text(id), id);
        if (type == TokenType::user_defined || words.is_special(id)) impl->all_added.insert(words.text(id), id);
    }
    impl->strips_right = right_stripping(file, impl->kind, words);

    const auto rule = [&](std::string_view key, std::string_view id_key, bool fallback, bool available) {
        const gguf::Value* value = file.find(key);
        const bool wanted = value ? value->as_bool() : fallback;
        if (wanted && value && !available) {
            throw Error(ErrorCode::bad_file, fmt::format("{}: key '{}': asks for a token that key '{}' does not name",
                                                         file.name(), key, id_key));
        }
        return wanted && available;
    };
    const bool wordpiece = impl->kind == TokenizerKind::wordpiece;
    impl->adds_bos = rule("tokenizer.ggml.add_bos_token",
                          wordpiece ? "tokenizer.ggml.cls_token_id" : "tokenizer.ggml.bos_token_id", adds_bos,
                          (wordpiece ? words.cls : words.bos).has_value());
    impl->adds_eos = rule(wordpiece ? "tokenizer.ggml.add_sep_token" : "tokenizer.ggml.add_eos_token",
                          wordpiece ? "tokenizer.ggml.seperator_token_id" : "tokenizer.ggml.eos_token_id", adds_eos,
                          (wordpiece ? words.sep : words.eos).has_value());
    return Tokenizer(std::move(impl));
}

std::vector<std::string> Tokenizer::pre_tokenizers() {
    std::vector<std::string> names;
    for (const tokenizer::PreTokenizer& row : tokenizer::pre_tokenizers()) {
        names.emplace_back(row.name);
        names.insert(names.end(), row.aliases.begin(), row.aliases.end());
    }
    return names;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
    impl_->words();
    if (text.size() > kMaxTextBytes) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("encoding text: it has {} bytes, the limit is {}; encode it in parts", text.size(),
                                kMaxTextBytes));
    }
    std::vector<TokenId> out;
    const TokenId first = options.add_special ? impl_->begin_token() : -1;
    const TokenId last = options.add_special ? impl_->end_token() : -1;
    if (first >= 0) out.push_back(first);
    const auto encode_plain = [&](std::size_t begin, std::size_t end) {
        if (begin < end) impl_->algorithm->encode(text.substr(begin, end - begin), out);
    };
    const tokenizer::AddedTokens& added = options.parse_special ? impl_->all_added : impl_->user_defined;
    // Matches come in ascending order of their begin, so one pass over the ranges is enough.
    std::size_t range = 0;
    const auto accept = [&](const tokenizer::AddedTokens::Match& match) {
        while (range < options.literal.size() && options.literal[range].end <= match.begin) ++range;
        if (range == options.literal.size() || options.literal[range].begin >= match.end) return true;
        return impl_->vocabulary->type(match.id) == TokenType::user_defined && !is_end_of_generation(match.id);
    };
    std::size_t pos = 0;
    while (const auto match = added.find(text, pos, accept)) {
        encode_plain(pos, match->begin);
        const bool doubled = match->id == first && match->begin == 0;
        if (!doubled) out.push_back(match->id);
        pos = match->end;
        if (impl_->strips_right.empty() || !impl_->strips_right[static_cast<std::size_t>(match->id)]) continue;
        while (pos < text.size()) {
            const utf8::CodePoint c = utf8::decode(text, pos);
            if (!utf8::is_white_space(c.value)) break;
            pos += c.length;
        }
    }
    encode_plain(pos, text.size());
    // Where bos and eos are one token, the bos alone is not yet an end.
    const std::size_t own = first >= 0 ? 1 : 0;
    if (last >= 0 && (out.size() <= own || out.back() != last)) out.push_back(last);
    return out;
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, const DecodeOptions& options) const {
    impl_->words();
    std::string out;
    bool text_begins = true;
    for (const TokenId id : tokens) {
        impl_->check(id);
        impl_->append_text(id, options.skip_special, text_begins, out);
    }
    return out;
}

TokenizerKind Tokenizer::kind() const noexcept { return impl_->kind; }
std::string_view Tokenizer::pre_tokenizer() const noexcept { return impl_->pre; }
std::size_t Tokenizer::vocab_size() const noexcept { return impl_->vocab_size; }

std::string_view Tokenizer::token_text(TokenId id) const {
    impl_->check(id);
    return impl_->vocabulary->text(id);
}

std::string Tokenizer::token_bytes(TokenId id) const {
    impl_->check(id);
    std::string out;
    bool text_begins = false;
    impl_->append_text(id, false, text_begins, out);
    return out;
}

TokenType Tokenizer::token_type(TokenId id) const {
    impl_->check(id);
    return impl_->vocabulary->type(id);
}

float Tokenizer::token_score(TokenId id) const {
    impl_->check(id);
    return impl_->vocabulary->score(id);
}

std::optional<TokenId> Tokenizer::find(std::string_view token_text) const {
    const TokenId id = impl_->words().find(token_text);
    return id < 0 ? std::nullopt : std::optional(id);
}

std::optional<TokenId> Tokenizer::bos() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->bos : std::nullopt;
}
std::optional<TokenId> Tokenizer::eos() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->eos : std::nullopt;
}
std::optional<TokenId> Tokenizer::eot() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->eot : std::nullopt;
}
std::optional<TokenId> Tokenizer::unk() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->unk : std::nullopt;
}
std::optional<TokenId> Tokenizer::pad() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->pad : std::nullopt;
}
std::optional<TokenId> Tokenizer::sep() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->sep : std::nullopt;
}
std::optional<TokenId> Tokenizer::cls() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->cls : std::nullopt;
}
std::optional<TokenId> Tokenizer::mask() const noexcept {
    return impl_->vocabulary ? impl_->vocabulary->mask : std::nullopt;
}

bool Tokenizer::adds_bos() const noexcept { return impl_->adds_bos; }
bool Tokenizer::adds_eos() const noexcept { return impl_->adds_eos; }

bool Tokenizer::is_end_of_generation(TokenId id) const noexcept {
    const std::span<const TokenId> ids = end_of_generation();
    return std::binary_search(ids.begin(), ids.end(), id);
}

std::span<const TokenId> Tokenizer::end_of_generation() const noexcept {
    if (!impl_->vocabulary) return {};
    return impl_->vocabulary->end_of_generation;
}

}  // namespace tern
