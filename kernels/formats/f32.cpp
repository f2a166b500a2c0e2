#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

void decode(const void* blocks, float* out, std::size_t n) {
    if (n != 0) std::memcpy(out, blocks, n * sizeof(float));
}

}  // namespace

const FormatOps kFormatOps_F32 = {DType::F32, false, false, nullptr, decode, nullptr};

}  // namespace tern::kernels
