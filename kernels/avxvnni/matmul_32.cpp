#include "kernels/avxvnni/dot.h"
#include "kernels/avxvnni/table.h"
#include "kernels/avx2/matmul_32.h"

namespace tern::kernels::avxvnni {

void fill_matmul_32(KernelTable& table) noexcept { set_own_32(table); }

}  // namespace tern::kernels::avxvnni
