#include <fmt/format.h>

#include <tern/tokenizer.h>

#include "tokenizer/tokenizer_impl.h"
#include "tokenizer/utf8.h"

namespace tern {

StreamDecoder::StreamDecoder(Tokenizer tokenizer, const StreamOptions& options)
    : tokenizer_(std::move(tokenizer)), skip_special_(options.skip_special), text_begins_(true) {
    if (!options.after) return;
    tokenizer_.impl_->check(*options.after);
    text_begins_ = tokenizer_.impl_->is_added(*options.after);
}

std::string StreamDecoder::feed(TokenId id) {
    const Tokenizer::Impl& impl = *tokenizer_.impl_;
    impl.check(id);
    // The token's bytes are taken apart from those held, because a space at their beginning may have to go.
    std::string added;
    impl.append_text(id, skip_special_, text_begins_, added);
    held_ += added;
    std::string out;
    std::size_t pos = 0;
    while (pos < held_.size()) {
        const utf8::CodePoint c = utf8::decode(held_, pos);
        if (c.truncated) break;
        if (c.valid) {
            out.append(held_, pos, c.length);
        } else {
            out.append(utf8::kReplacementBytes);
        }
        pos += c.length;
    }
    held_.erase(0, pos);
    return out;
}

std::string StreamDecoder::flush() {
    text_begins_ = true;
    const bool incomplete = !held_.empty();
    held_.clear();
    return std::string(incomplete ? utf8::kReplacementBytes : std::string_view());
}

}  // namespace tern
