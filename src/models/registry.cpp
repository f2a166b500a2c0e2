#include <fmt/format.h>
#include <tern/error.h>

#include "models/architecture.h"

namespace tern::models {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", define_llama},
};

}  // namespace

const Architecture& find_architecture(const std::string& name) {
    std::string known;
    for (const Architecture& a : kArchitectures) {
        if (name == a.name) return a;
        known += fmt::format("{}{}", known.empty() ? "" : ", ", a.name);
    }
    throw Error(ErrorCode::unsupported,
                fmt::format("architecture '{}' is not known to this version of Tern; known: {}", name, known));
}

}  // namespace tern::models
