// Matrix products with quantised weights: AVX2 with FMA and F16C.
#pragma once

#include "kernels/kernel.h"

namespace tern::kernels::avx2 {

// Sets the matmul slot of every quantised format.
void fill_quantised(KernelTable& table);

}  // namespace tern::kernels::avx2
