#include "tokenizer/splitter.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <tern/error.h>

#include "tokenizer/utf8.h"

namespace tern::tokenizer {

namespace {

struct Free {
    void operator()(pcre2_code* p) const noexcept { pcre2_code_free(p); }
    void operator()(pcre2_match_data* p) const noexcept { pcre2_match_data_free(p); }
    void operator()(pcre2_match_context* p) const noexcept { pcre2_match_context_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

template <class T>
Owned<T> own(T* pointer) {
    if (!pointer) throw Error(ErrorCode::out_of_memory, "splitting text: PCRE2 could not allocate memory");
    return Owned<T>(pointer);
}

std::string message(int code) {
    PCRE2_UCHAR text[256];
    if (pcre2_get_error_message(code, text, sizeof text) < 0) return fmt::format("PCRE2 error {}", code);
    return reinterpret_cast<const char*>(text);
}

// PCRE2's \s holds U+180E, which left White_Space with Unicode 6.3. The engines that the published patterns were
// written for follow White_Space, so PCRE2 is shown another format character of the same length.
constexpr std::string_view kMongolianVowelSeparator = "\xE1\xA0\x8E";
constexpr std::string_view kZeroWidthSpace = "\xE2\x80\x8B";

// The text as PCRE2 sees it: well formed.
struct Subject {
    std::string changed;                // used if not empty
    std::vector<std::size_t> replaced;  // in `changed`: where a U+FFFD stands for one byte of the text
    std::string_view view;

    explicit Subject(std::string_view text) : view(text) {
        std::size_t copied = 0;
        const auto replace = [&](std::size_t pos, std::size_t length, std::string_view by) {
            changed.append(text.substr(copied, pos - copied));
            if (length != by.size()) replaced.push_back(changed.size());
            changed.append(by);
            copied = pos + length;
        };
        for (std::size_t pos = 0; pos < text.size();) {
            const utf8::CodePoint c = utf8::decode(text, pos);
            if (!c.valid) {
                replace(pos, 1, utf8::kReplacementBytes);
                pos += 1;
                continue;
            }
            if (c.value == 0x180E) replace(pos, kMongolianVowelSeparator.size(), kZeroWidthSpace);
            pos += c.length;
        }
        if (changed.empty()) return;
        changed.append(text.substr(copied));
        view = changed;
    }
};

}  // namespace

struct Splitter::Impl {
    struct Step {
        Owned<pcre2_code> code;
        bool threes;

        void cut(std::string_view text, std::size_t begin, pcre2_match_data* match, pcre2_match_context* context,
                 std::vector<std::size_t>& ends) const;
    };
    std::vector<Step> steps;
};

Splitter::Splitter(std::span<const SplitStep> steps) : impl_(std::make_unique<Impl>()) {
    for (const auto& [pattern, threes] : steps) {
        int error = 0;
        PCRE2_SIZE offset = 0;
        Owned<pcre2_code> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                                             PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
        if (!code) {
            throw Error(ErrorCode::internal,
                        fmt::format("split pattern '{}', offset {}: {}", pattern, offset, message(error)));
        }
        // Without JIT support in the library the pattern is interpreted, with the same result.
        pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
        impl_->steps.push_back({std::move(code), threes});
    }
}

Splitter::Splitter(Splitter&&) noexcept = default;
Splitter::~Splitter() = default;

// Appends the ends of the words of `text`, which begins at `begin` of the whole.
void Splitter::Impl::Step::cut(std::string_view text, std::size_t begin, pcre2_match_data* match,
                               pcre2_match_context* context, std::vector<std::size_t>& ends) const {
    const auto* bytes = reinterpret_cast<PCRE2_SPTR>(text.data());
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(match);
    std::size_t word = 0;  // where the word begins that is not ended yet
    const auto end_word = [&](std::size_t end) {
        if (end > word) ends.push_back(begin + end);
        word = end;
    };
    for (std::size_t pos = 0; pos < text.size();) {
        const auto run = [&](std::uint32_t options) {
            return pcre2_match(code.get(), bytes, text.size(), pos, options | PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match,
                               context);
        };
        int count = run(0);
        // The interpreter keeps its state on the heap.
        if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = run(PCRE2_NO_JIT);
        if (count == PCRE2_ERROR_NOMATCH) break;
        if (count == PCRE2_ERROR_NOMEMORY || count == PCRE2_ERROR_HEAPLIMIT) {
            throw Error(ErrorCode::out_of_memory, "splitting text: " + message(count));
        }
        if (count < 0) {
            throw Error(ErrorCode::internal,
                        fmt::format("splitting text at byte {}: {}", begin + pos, message(count)));
        }
        pos = found[1];
        if (threes) {
            std::size_t left = 0;  // characters up to the end
            for (std::size_t i = found[0]; i < pos; i += utf8::decode(text, i).length) ++left;
            for (std::size_t i = found[0]; i < pos; i += utf8::decode(text, i).length) {
                if (left-- % 3 == 0) end_word(i);
            }
        } else {
            end_word(found[0]);
            end_word(pos);
        }
    }
    end_word(text.size());
}

void Splitter::split(std::string_view text, std::vector<std::size_t>& ends) const {
    const Subject subject(text);
    if (subject.view.empty()) return;
    const auto match = own(pcre2_match_data_create(1, nullptr));
    const auto context = own(pcre2_match_context_create(nullptr));
    // A match may step through a whole run of white space; the default limit of ten million steps would end that.
    constexpr std::size_t kSteps = 64;
    pcre2_set_match_limit(context.get(),
                          static_cast<std::uint32_t>(std::min<std::size_t>(
                              UINT32_MAX, kSteps * subject.view.size() + (std::size_t{1} << 20))));

    std::vector<std::size_t> words = {subject.view.size()}, parts;
    for (const Impl::Step& step : impl_->steps) {
        parts.clear();
        std::size_t begin = 0;
        for (const std::size_t end : words) {
            step.cut(subject.view.substr(begin, end - begin), begin, match.get(), context.get(), parts);
            begin = end;
        }
        words.swap(parts);
    }
    std::size_t replacements = 0;  // that lie before the word's end
    for (const std::size_t end : words) {
        while (replacements < subject.replaced.size() && subject.replaced[replacements] < end) ++replacements;
        ends.push_back(end - replacements * (utf8::kReplacementBytes.size() - 1));
    }
}

}  // namespace tern::tokenizer
