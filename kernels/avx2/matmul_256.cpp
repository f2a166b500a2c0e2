#include "kernels/avx2/dot.h"
#include "kernels/avx2/table.h"
#include "kernels/avx2/matmul_256.h"

namespace tern::kernels::avx2 {

void fill_matmul_256(KernelTable& table) noexcept { set_own_256(table); }

}  // namespace tern::kernels::avx2
