// Cuts text into words by regular expressions.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace tern::tokenizer {

// The first step cuts the text, each further one what is left: to it every word is a text of its own, so that looking
// ahead ends where the word does.
struct SplitStep {
    const char* pattern;  // PCRE2 with UTF and UCP; what it finds is a word, and so is what lies between
    // Instead: what it finds is cut before every third character, counted from its end, and nowhere else.
    bool threes = false;
};

// Immutable after construction; split may run in many threads at once.
class Splitter {
public:
    explicit Splitter(std::span<const SplitStep> steps);
    Splitter(Splitter&&) noexcept;
    ~Splitter();

    // Appends the end of each word; the words follow one another without gaps. To the pattern, a byte outside
    // well-formed UTF-8 is U+FFFD (a symbol).
    void split(std::string_view text, std::vector<std::size_t>& ends) const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern::tokenizer
