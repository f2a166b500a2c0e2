#include "kernels/avx2/dot.h"
#include "kernels/avx2/table.h"
#include "kernels/avx2/matmul_general.h"

namespace tern::kernels::avx2 {

void fill_matmul_general(KernelTable& table) noexcept { set_general(table); }

}  // namespace tern::kernels::avx2
