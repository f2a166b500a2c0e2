// Is a model file what it should be, and do two people have the same one?
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <tern/export.h>
#include <tern/runtime.h>
#include <tern/tokenizer.h>

namespace tern {

struct VerifyOptions {
    TokenizerOptions tokenizer{};
    bool fingerprint = true;  // false: nothing is computed
    // Called with the fraction of the weights that was read, 0 to 1. Return false to cancel (Error(cancelled)).
    std::function<bool(double)> progress{};
};

struct Finding {
    // "file", "weights", "shapes", "tokenizer", "template" or "logits".
    std::string part{};
    std::string problem{};  // one line: which tensor, key or text, and what is wrong with it
};

struct Verification {
    std::vector<Finding> findings{};  // empty: nothing is wrong
    std::vector<Finding> notes{};     // what is no fault, but worth knowing
    std::uint64_t tensors = 0;        // whose weights were read …
    std::uint64_t bytes = 0;          // … and their bytes
    double seconds = 0;               // that took
    std::uint32_t texts = 0;          // that went through the tokeniser and back
    bool has_tokenizer = false;
    bool has_template = false;
    // Of the logits after each of 32 fixed token ids (encoders: of the embeddings of their beginnings), with an f32 KV
    // cache: 16 hexadecimal digits. The same on every CPU and with any number of threads. It changes with the weights,
    // their formats, the hyperparameters, and with a new definition of the arithmetic (docs/numerics.md). Empty where
    // it could not be computed; the findings say why, or the notes: backends that promise no bits give none.
    std::string fingerprint{};
};

// Reads all of the weights. What is wrong with the file is a finding, however bad; errors are what keeps it from being
// read at all: not_found, io, out_of_memory, cancelled.
TERN_API Verification verify(const Runtime& runtime, const std::filesystem::path& path,
                             const VerifyOptions& options = {});

struct TemplateCheck {
    // It is malformed, does not render a conversation of user and assistant, or gives a prompt more than one bos.
    std::vector<std::string> faults{};
    // It writes a bos although the tokeniser adds one (Tern leaves the second out), or no token that ends a generation
    // behind an answer.
    std::vector<std::string> warnings{};
};
TERN_API TemplateCheck check_template(std::string_view source, const Tokenizer& tokenizer);

}  // namespace tern
