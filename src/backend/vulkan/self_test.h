// Which ways of multiplying a device can be trusted with. Drivers that give wrong results exist; each way is
// tried once per device and format on a small product, and the first one whose result is right is used.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/vulkan/device.h"
#include "tern/dtype.h"

namespace tern::backend::vulkan {

class WeightStore;

enum class ProductPath : std::uint8_t {
    // Of few tokens (shaders/ops/matmul.comp):
    buffers,  // storage buffers; lanes exchange activations
    texels,   // texel fetches; no exchange between lanes
    dots,     // storage buffers and integer dot products; of quantised formats
    // Of many (shaders/ops/matmul_tiles.comp):
    tiles,      // through a workgroup's memory
    tile_dots,  // the same with integer dot products; of quantised formats
    // Of many, not exact, where they are asked for (shaders/ops/matmul_half.comp):
    half,    // fp16 arithmetic
    matrix,  // cooperative matrices
};

// What a product reads its activations as (shaders/ops/quantize.comp, halve.comp).
enum class Activations : std::uint8_t {
    f32,     // as they are
    packed,  // quantised: bytes
    texels,  // quantised: an f32 for each number
    half,    // f16 with a scale for each row
};

struct ProductPathInfo {
    ProductPath path;
    const char* name;    // as BackendOptions::isa takes it
    const char* shader;  // before the format
    const char* words;   // "products of Q4_K …"
    bool tiles;
    Activations quantised;  // of quantised formats; others read f32, or half where this is half
    bool integer_dot;
    bool half = false;  // half precision
};
std::span<const ProductPathInfo> all_product_paths() noexcept;
const ProductPathInfo& info_of(ProductPath path) noexcept;
// What a device has not that the path needs, as the end of a sentence; empty: nothing.
std::string lacks(ProductPath path, const DeviceInfo& device);
// f32 for formats of floats, but where all are half.
Activations activations_of(ProductPath path, DType dtype) noexcept;

// The path of products of a few tokens, and of many.
struct ProductChoice {
    ProductPath few = ProductPath::buffers, many = ProductPath::buffers;
};

class ProductPaths {
public:
    ProductPaths(std::shared_ptr<Device> device, WeightStore& weights)
        : device_(std::move(device)), weights_(weights) {}
    // Those to use; a path that is wrong is named in a log line. Error(device) where none is right.
    ProductChoice of(DType dtype);
    // For tests: results of this path count as wrong.
    void distrust(ProductPath path) { distrusted_[path] = true; }
    // Only this path is tried, for all formats that it exists for.
    void force(ProductPath path) { forced_ = path; }
    std::optional<ProductPath> forced() const noexcept { return forced_; }
    // Those in half precision come first for many tokens.
    void prefer_half() { half_ = true; }
    // Whether any product may be in half precision.
    bool half() const noexcept;

private:
    ProductPath first_right(DType dtype, const std::vector<ProductPath>& paths);
    bool is_right(DType dtype, ProductPath path);
    std::shared_ptr<Device> device_;
    WeightStore& weights_;
    std::map<DType, ProductChoice> known_;
    std::map<std::pair<DType, ProductPath>, bool> tried_;
    std::map<ProductPath, bool> distrusted_;
    std::optional<ProductPath> forced_;
    bool half_ = false;
};

}  // namespace tern::backend::vulkan
