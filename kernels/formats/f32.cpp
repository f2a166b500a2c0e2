#include "kernels/formats/common.h"

#include "kernels/formats/encode.h"

namespace tern::kernels {
namespace {

void decode(const void* blocks, float* out, std::size_t n) {
    if (n != 0) std::memcpy(out, blocks, n * sizeof(float));
}

void encode(const float* x, const float*, void* blocks, std::size_t n) {
    auto* p = static_cast<unsigned char*>(blocks);
    for (std::size_t i = 0; i < n; ++i) {
        const float value = finite_or_zero(x[i]);
        std::memcpy(p + 4 * i, &value, sizeof value);
    }
}

}  // namespace

const FormatOps kFormatOps_F32 = {DType::F32, false, false, nullptr, decode, encode};

}  // namespace tern::kernels
