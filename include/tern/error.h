// Errors. Every failure that input, files, memory or devices can cause leaves the library as a tern::Error.
#pragma once

#include <stdexcept>
#include <string>

#include <tern/export.h>

namespace tern {

enum class ErrorCode {
    invalid_argument,  // a caller's value is out of its documented range
    not_found,         // a file, key, tensor or device that was named does not exist
    io,                // the operating system refused to open, read, map or write
    bad_file,          // a file's content breaks its format
    unsupported,       // well-formed, but this version of Tern does not know it
    out_of_memory,     // host or device memory, or a stated budget, is too small
    context_full,      // a request needs more positions than its context has
    device,            // a device failed
    cancelled,         // the caller asked for the end
    internal,          // a bug in Tern
};

// The name of the enumerator, for logs and JSON.
TERN_API const char* to_string(ErrorCode code) noexcept;

// what() is one line: what went wrong, where (file, key, offset, tensor), and what would help.
class TERN_API Error : public std::runtime_error {
public:
    Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
    ErrorCode code() const noexcept { return code_; }

private:
    ErrorCode code_;
};

}  // namespace tern
