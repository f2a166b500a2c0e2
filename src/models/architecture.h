// What an architecture is: a function that reads hyperparameters and tensors and returns the forward pass.
// One file and one row in registry.cpp each.
#pragma once

#include <string>

#include <tern/model.h>

#include "graph/graph.h"
#include "models/loader.h"

namespace tern::models {

struct Definition {
    ModelInfo info;  // shape fields only; Model::load fills the rest
    graph::Graph graph;
};

struct Architecture {
    const char* name;  // general.architecture
    Definition (*define)(Loader& loader);
};

// Error(unsupported) naming the file and listing the known ones.
const Architecture& find_architecture(const std::string& name, const std::string& file);

Definition define_llama(Loader& loader);
Definition define_qwen2(Loader& loader);
Definition define_qwen2moe(Loader& loader);
Definition define_qwen3(Loader& loader);
Definition define_gemma(Loader& loader);
Definition define_gemma2(Loader& loader);
Definition define_gemma3(Loader& loader);
Definition define_gpt_oss(Loader& loader);
Definition define_phi2(Loader& loader);
Definition define_phi3(Loader& loader);
Definition define_deepseek2(Loader& loader);
Definition define_granite(Loader& loader);
Definition define_minicpm(Loader& loader);
Definition define_smollm3(Loader& loader);
Definition define_olmo2(Loader& loader);
Definition define_command_r(Loader& loader);
Definition define_glm4(Loader& loader);
Definition define_exaone(Loader& loader);
Definition define_internlm2(Loader& loader);
Definition define_stablelm(Loader& loader);
Definition define_nemotron(Loader& loader);
Definition define_falcon(Loader& loader);
Definition define_mpt(Loader& loader);
Definition define_gpt2(Loader& loader);
Definition define_starcoder2(Loader& loader);

Definition define_bert(Loader& loader);
Definition define_nomic_bert(Loader& loader);
Definition define_jina_bert_v2(Loader& loader);

// pooling_type of the file, else `fallback`.
Pooling pooling_of(const Loader& loader, Pooling fallback);

}  // namespace tern::models
