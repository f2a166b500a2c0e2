// The CPU backend with OpenBLAS for the matrix products of many tokens (prompts). Opt-in, for comparison and for
// machines whose BLAS is better than Tern's kernels.
//
// Its products take f32 activations, which are not quantised, and f32 weights, decoded block by block where the file
// has another format, and add in OpenBLAS's order: the results are near those of backend "cpu", but not its bits, and
// they may change with the batch, the number of threads and the version of OpenBLAS. All else, products of few tokens
// included, is backend "cpu".
#pragma once

#include "backend/interface.h"

namespace tern::backend::blas {

// Error(unsupported) where this build has no such backend or the library cannot be loaded.
std::unique_ptr<Backend> make_blas(const std::string& isa, unsigned threads);

}  // namespace tern::backend::blas
