// What an architecture is: a function that reads hyperparameters and tensors and returns the forward pass.
// One file and one row in registry.cpp each; the row declares the function.
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

// pooling_type of the file, else `fallback`.
Pooling pooling_of(const Loader& loader, Pooling fallback);

}  // namespace tern::models
