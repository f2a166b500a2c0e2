#include "kernels/avx2/dot.h"
#include "kernels/avx2/table.h"
#include "kernels/avx2/matmul_iq.h"

namespace tern::kernels::avx2 {

void fill_matmul_iq(KernelTable& table) noexcept { set_iq(table); }

}  // namespace tern::kernels::avx2
