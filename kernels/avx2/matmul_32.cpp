#include "kernels/avx2/dot.h"
#include "kernels/avx2/table.h"
#include "kernels/avx2/matmul_32.h"

namespace tern::kernels::avx2 {

void fill_matmul_32(KernelTable& table) noexcept { set_own_32(table); }

}  // namespace tern::kernels::avx2
