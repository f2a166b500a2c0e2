#include "kernels/neon/table.h"
#include "kernels/neon/vec.h"
#include "kernels/kernel.h"
#include "kernels/simd/norm.h"

namespace tern::kernels::neon {

void fill_norm(KernelTable& table) noexcept {
    table.rms_norm = rms_norm;
    table.layer_norm = layer_norm;
    table.softmax = softmax;
}

}  // namespace tern::kernels::neon
