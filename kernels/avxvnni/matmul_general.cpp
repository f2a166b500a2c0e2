#include "kernels/avxvnni/dot.h"
#include "kernels/avxvnni/table.h"
#include "kernels/avx2/matmul_general.h"

namespace tern::kernels::avxvnni {

void fill_matmul_general(KernelTable& table) noexcept { set_general(table); }

}  // namespace tern::kernels::avxvnni
