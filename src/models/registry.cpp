#include <fmt/format.h>
#include <tern/error.h>

#include "gguf/cursor.h"
#include "models/architecture.h"

namespace tern::models {

// The name in general.architecture, and the function of src/models that defines it. An architecture is a row here.
#define TERN_ARCHITECTURES(row)        \
    row("llama", define_llama)         \
    row("qwen2", define_qwen2)         \
    row("qwen2moe", define_qwen2moe)   \
    row("qwen3", define_qwen3)         \
    row("qwen3moe", define_qwen3)      \
    row("gemma", define_gemma)         \
    row("gemma2", define_gemma2)       \
    row("gemma3", define_gemma3)       \
    row("gpt-oss", define_gpt_oss)     \
    row("phi2", define_phi2)           \
    row("phi3", define_phi3)           \
    row("deepseek2", define_deepseek2) \
    row("granite", define_granite)     \
    row("granitemoe", define_granite)  \
    row("minicpm", define_minicpm)     \
    row("smollm3", define_smollm3)     \
    row("olmo2", define_olmo2)         \
    row("command-r", define_command_r) \
    row("cohere2", define_command_r)   \
    row("glm4", define_glm4)           \
    row("exaone", define_exaone)       \
    row("internlm2", define_internlm2) \
    row("stablelm", define_stablelm)   \
    row("nemotron", define_nemotron)   \
    row("falcon", define_falcon)       \
    row("mpt", define_mpt)             \
    row("gpt2", define_gpt2)           \
    row("starcoder2", define_starcoder2) \
    row("bert", define_bert)             \
    row("nomic-bert", define_nomic_bert) \
    row("jina-bert-v2", define_jina_bert_v2)

#define TERN_DECLARE(name, define) Definition define(Loader& loader);
TERN_ARCHITECTURES(TERN_DECLARE)
#undef TERN_DECLARE

namespace {

#define TERN_ROW(name, define) {name, define},
constexpr Architecture kArchitectures[] = {TERN_ARCHITECTURES(TERN_ROW)};
#undef TERN_ROW

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
