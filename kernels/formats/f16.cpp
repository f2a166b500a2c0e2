#include "kernels/formats/common.h"

namespace tern::kernels {
namespace {

void decode(const void* blocks, float* out, std::size_t n) {
    const auto* p = static_cast<const unsigned char*>(blocks);
    for (std::size_t i = 0; i < n; ++i) out[i] = f16_to_f32(load_block<std::uint16_t>(p + 2 * i));
}

}  // namespace

const FormatOps kFormatOps_F16 = {DType::F16, false, false, nullptr, decode, nullptr};

}  // namespace tern::kernels
