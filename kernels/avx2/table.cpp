// The table of this instruction set. What stands in this folder is compiled with its flags, so nothing but intrinsics,
// C headers and internal functions: an inline function shared with other objects could leak wide code into them.
#include "kernels/avx2/table.h"

#include "kernels/kernel.h"

namespace tern::kernels {
namespace avx2 {

static KernelTable make_table() noexcept {
    KernelTable table{};
    table.name = "avx2";
    fill_matmul_float(table);
    fill_matmul_iq(table);
    fill_matmul_256(table);
    fill_matmul_32(table);
    fill_quantize(table);
    fill_norm(table);
    fill_elementwise(table);
    fill_attention(table);
    return table;
}

}  // namespace avx2

const KernelTable& table_avx2() noexcept {
    static const KernelTable table = avx2::make_table();
    return table;
}

}  // namespace tern::kernels
