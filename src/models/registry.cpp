#include <fmt/format.h>
#include <tern/error.h>

#include "gguf/cursor.h"
#include "models/architecture.h"

namespace tern::models {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", define_llama},
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
