// What `tern run` and its batches share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common.h"

namespace tern::cli {

struct RunOptions {
    std::string model;
    std::string pre;
    RuntimeArgs runtime;
    std::string prompt;
    bool has_prompt = false;
    std::string system;
    std::string ids;
    std::optional<std::uint32_t> max_tokens;
    std::uint32_t context = 0;
    std::optional<ContextPolicy> when_full;
    std::uint32_t keep = 0;
    KvType kv_type = KvType::f16;
    SamplerOptions sampling;
    bool raw = false;
    bool json = false;

    // --parallel
    std::string prompts;  // the file
    std::string out;
    std::uint32_t jobs = 16;
    std::uint64_t kv_memory = 0;
};

// The prompt in the form that the model was trained on, unless --raw says otherwise.
std::vector<TokenId> encode_prompt(const Model& model, const std::string& prompt, const RunOptions& options);
// Says where a template is missing that encode_prompt would have used.
void note_missing_template(const Model& model, const RunOptions& options);

// All that the command line says about a request, without the prompt.
Request request_of(const RunOptions& options);

// tern run --parallel
int run_many(const RunOptions& options);

}  // namespace tern::cli
