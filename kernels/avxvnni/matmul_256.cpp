#include "kernels/avxvnni/dot.h"
#include "kernels/avxvnni/table.h"
#include "kernels/avx2/matmul_256.h"

namespace tern::kernels::avxvnni {

void fill_matmul_256(KernelTable& table) noexcept { set_own_256(table); }

}  // namespace tern::kernels::avxvnni
