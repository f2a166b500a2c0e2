// The table of this instruction set. What stands here is compiled with its flags, so nothing but intrinsics, C headers
// and internal functions: an inline function shared with other objects could leak wide code into them.
#include "kernels/kernel.h"

#if __has_include("kernels/avx512/matmul.h")
#include "kernels/avx512/matmul.h"
#define TERN_FILL_QUANTISED(table) avx512::fill_quantised(table)
#else
#define TERN_FILL_QUANTISED(table) static_cast<void>(table)
#endif

namespace tern::kernels {
namespace {

KernelTable make_table() {
    KernelTable t{};
    t.name = "avx512";
    TERN_FILL_QUANTISED(t);
    return t;
}

}  // namespace

const KernelTable& table_avx512() noexcept {
    static const KernelTable table = make_table();
    return table;
}

}  // namespace tern::kernels
