#pragma once

#include "backend/interface.h"

namespace tern::backend::cpu {

std::unique_ptr<Backend> make_cpu(const std::string& isa, unsigned threads);
std::unique_ptr<Backend> make_ref(const std::string& isa, unsigned threads);

}  // namespace tern::backend::cpu
