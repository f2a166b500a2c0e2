// The table of this instruction set: quantised matrix products. Everything else comes from kernels/avx2, whose flags
// these include.
#include "kernels/avxvnni/table.h"

#include "kernels/kernel.h"

namespace tern::kernels {
namespace avxvnni {

static KernelTable make_table() noexcept {
    KernelTable table{};
    table.name = "avxvnni";
    fill_matmul_iq(table);
    fill_matmul_256(table);
    fill_matmul_32(table);
    return table;
}

}  // namespace avxvnni

const KernelTable& table_avxvnni() noexcept {
    static const KernelTable table = avxvnni::make_table();
    return table;
}

}  // namespace tern::kernels
