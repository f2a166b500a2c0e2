// Lines from whoever talks to the program: edited on a terminal, plain from a file or pipe.
#pragma once

#include <memory>
#include <string>

namespace tern::cli {

enum class LineEnd {
    line,         // a line was read
    end,          // Ctrl-D, or the end of the file
    interrupted,  // Ctrl-C; what was typed is dropped
};

class LineReader {
public:
    // `program` names the section of ~/.editrc.
    explicit LineReader(const char* program);
    ~LineReader();
    LineReader(const LineReader&) = delete;
    LineReader& operator=(const LineReader&) = delete;

    bool terminal() const noexcept;
    // Without its line break. The prompt goes to stderr, on a terminal only. Error(io).
    LineEnd read(const std::string& prompt, std::string& line);
    // Ends the read() that waits, or the next one. From any thread.
    void interrupt() noexcept;
    // Forgets an interrupt() that no read() has seen.
    void forget_interrupt() noexcept;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace tern::cli
