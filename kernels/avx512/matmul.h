// Matrix products with quantised weights: AVX-512 with VNNI.
#pragma once

#include "kernels/kernel.h"

namespace tern::kernels::avx512 {

// Sets the matmul slot of every quantised format.
void fill_quantised(KernelTable& table);

}  // namespace tern::kernels::avx512
