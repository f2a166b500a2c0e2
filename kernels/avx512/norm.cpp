#include "kernels/avx512/table.h"
#include "kernels/avx512/vec.h"
#include "kernels/kernel.h"
#include "kernels/simd/norm.h"

namespace tern::kernels::avx512 {

void fill_norm(KernelTable& table) noexcept {
    table.rms_norm = rms_norm;
    table.layer_norm = layer_norm;
    table.softmax = softmax;
}

}  // namespace tern::kernels::avx512
