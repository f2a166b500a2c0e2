#include "kernels/neon/table.h"
#include "kernels/neon/vec.h"
#include "kernels/kernel.h"
#include "kernels/simd/attention.h"

namespace tern::kernels::neon {

void fill_attention(KernelTable& table) noexcept {
    table.kv_store = kv_store;
    table.attention = attention;
    table.attention_merge = attention_merge;
    table.attention_finish = attention_finish;
}

}  // namespace tern::kernels::neon
