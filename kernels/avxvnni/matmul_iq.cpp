#include "kernels/avxvnni/dot.h"
#include "kernels/avxvnni/table.h"
#include "kernels/avx2/matmul_iq.h"

namespace tern::kernels::avxvnni {

void fill_matmul_iq(KernelTable& table) noexcept { set_iq(table); }

}  // namespace tern::kernels::avxvnni
