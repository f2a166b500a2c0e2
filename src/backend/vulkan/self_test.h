// Which way of multiplying a device can be trusted with. Drivers that give wrong results exist; each way is
// tried once per device and format on a small product, and the first one whose result is right is used.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "backend/vulkan/device.h"
#include "tern/dtype.h"

namespace tern::backend::vulkan {

class WeightStore;

// The variants of shaders/ops/matmul.comp.
enum class ProductPath : std::uint8_t {
    buffers,  // storage buffers; lanes exchange activations
    texels,   // texel fetches; no exchange between lanes
};
const char* to_string(ProductPath path) noexcept;  // as in the shader's name

class ProductPaths {
public:
    ProductPaths(std::shared_ptr<Device> device, WeightStore& weights)
        : device_(std::move(device)), weights_(weights) {}
    // The one to use; a path that is wrong is named in a log line. Error(device) where none is right.
    ProductPath of(DType dtype);
    // For tests: results of this path count as wrong.
    void distrust(ProductPath path) { distrusted_[path] = true; }

private:
    bool is_right(DType dtype, ProductPath path);
    std::shared_ptr<Device> device_;
    WeightStore& weights_;
    std::map<DType, ProductPath> known_;
    std::map<ProductPath, bool> distrusted_;
};

}  // namespace tern::backend::vulkan
