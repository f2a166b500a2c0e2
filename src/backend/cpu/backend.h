#pragma once

#include "backend/cpu/dense.h"
#include "backend/interface.h"

namespace tern::backend::cpu {

std::unique_ptr<Backend> make_cpu(const std::string& isa, unsigned threads);
std::unique_ptr<Backend> make_ref(const std::string& isa, unsigned threads);

// The CPU backend under another name, with large products by `dense`; `info` is what Backend::info says.
std::unique_ptr<Backend> make_with(std::unique_ptr<const DenseProduct> dense, const char* name, std::string info,
                                   const std::string& isa, unsigned threads);

}  // namespace tern::backend::cpu
