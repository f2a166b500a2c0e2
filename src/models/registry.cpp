#include <fmt/format.h>
#include <tern/error.h>

#include "gguf/cursor.h"
#include "models/architecture.h"

namespace tern::models {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", define_llama},
    {"qwen2", define_qwen2},
    {"qwen2moe", define_qwen2moe},
    {"qwen3", define_qwen3},
    {"qwen3moe", define_qwen3},
    {"gemma", define_gemma},
    {"gemma2", define_gemma2},
    {"gemma3", define_gemma3},
    {"gpt-oss", define_gpt_oss},
    {"phi2", define_phi2},
    {"phi3", define_phi3},
    {"deepseek2", define_deepseek2},
    {"granite", define_granite},
    {"granitemoe", define_granite},
    {"minicpm", define_minicpm},
    {"smollm3", define_smollm3},
    {"olmo2", define_olmo2},
    {"command-r", define_command_r},
    {"cohere2", define_command_r},
    {"glm4", define_glm4},
    {"exaone", define_exaone},
    {"internlm2", define_internlm2},
    {"stablelm", define_stablelm},
    {"nemotron", define_nemotron},
    {"falcon", define_falcon},
    {"mpt", define_mpt},
    {"gpt2", define_gpt2},
    {"starcoder2", define_starcoder2},
    {"bert", define_bert},
    {"nomic-bert", define_nomic_bert},
    {"jina-bert-v2", define_jina_bert_v2},
};

}  // namespace

const Architecture& find_architecture(const std::string& name, const std::string& file) {
    std::string known;
    for (const Architecture& a : kArchitectures) {
        if (name == a.name) return a;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", a.name);
    }
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: key 'general.architecture': {} is not known to this version of Tern; known: {}", file,
                            gguf::quoted(name), known));
}

}  // namespace tern::models
