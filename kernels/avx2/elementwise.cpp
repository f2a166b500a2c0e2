#include "kernels/avx2/table.h"
#include "kernels/avx2/vec.h"
#include "kernels/kernel.h"
#include "kernels/simd/elementwise.h"

namespace tern::kernels::avx2 {

void fill_elementwise(KernelTable& table) noexcept {
    table.add = add_rows;
    table.mul = mul_rows;
    table.scale = scale_row;
    table.add_scaled = add_scaled_row;
    table.softcap = softcap_row;
    table.activate = activate;
    table.gated = gated;
    table.rope = rope;
}

}  // namespace tern::kernels::avx2
