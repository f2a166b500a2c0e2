// The table of this instruction set. What stands in this folder is compiled with its flags, so nothing but intrinsics,
// C headers and internal functions: an inline function shared with other objects could leak wide code into them.
#include "kernels/neon/table.h"

#include "kernels/kernel.h"
#include "kernels/neon/matmul.h"

namespace tern::kernels {
namespace neon {

static KernelTable make_table() noexcept {
    KernelTable table{};
    table.name = "neon";
    fill_matmul_float(table);
    fill_quantised(table);
    fill_quantize(table);
    fill_norm(table);
    fill_elementwise(table);
    fill_attention(table);
    return table;
}

}  // namespace neon

const KernelTable& table_neon() noexcept {
    static const KernelTable table = neon::make_table();
    return table;
}

}  // namespace tern::kernels
