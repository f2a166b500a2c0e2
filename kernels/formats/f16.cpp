#include "kernels/formats/common.h"

#include "kernels/formats/encode.h"

namespace tern::kernels {
namespace {

void decode(const void* blocks, float* out, std::size_t n) {
    const auto* p = static_cast<const unsigned char*>(blocks);
    for (std::size_t i = 0; i < n; ++i) out[i] = f16_to_f32(load_block<std::uint16_t>(p + 2 * i));
}

void encode(const float* x, const float*, void* blocks, std::size_t n) {
    auto* p = static_cast<unsigned char*>(blocks);
    for (std::size_t i = 0; i < n; ++i) {
        const std::uint16_t value = f32_to_f16(finite_or_zero(x[i]));
        std::memcpy(p + 2 * i, &value, sizeof value);
    }
}

}  // namespace

const FormatOps kFormatOps_F16 = {DType::F16, false, false, nullptr, decode, encode};

}  // namespace tern::kernels
