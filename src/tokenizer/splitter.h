// Cuts text into words by a regular expression.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace tern::tokenizer {

// Immutable after construction; split may run in many threads at once.
class Splitter {
public:
    explicit Splitter(const char* pattern);
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
