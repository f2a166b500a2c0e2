// Matrix products with quantised weights: NEON with the dot product extension (vdotq_s32).
#pragma once

#include "kernels/kernel.h"

namespace tern::kernels::neon {

// Sets the matmul slot of every quantised format.
void fill_quantised(KernelTable& table);

}  // namespace tern::kernels::neon
