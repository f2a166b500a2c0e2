#include "kernels/neon/table.h"
#include "kernels/neon/vec.h"
#include "kernels/kernel.h"
#include "kernels/simd/matmul_float.h"

namespace tern::kernels::neon {

void fill_matmul_float(KernelTable& table) noexcept {
    table.matmul[static_cast<size_t>(DType::F32)] = {matmul_float<WeightsF32>, matmul_float_scratch, kTileRows};
    table.matmul[static_cast<size_t>(DType::F16)] = {matmul_float<WeightsF16>, matmul_float_scratch, kTileRows};
    table.matmul[static_cast<size_t>(DType::BF16)] = {matmul_float<WeightsBF16>, matmul_float_scratch, kTileRows};
}

}  // namespace tern::kernels::neon
