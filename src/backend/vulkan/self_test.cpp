#include "backend/vulkan/self_test.h"

#include <fmt/format.h>

#include <cmath>
#include <random>
#include <vector>

#include "backend/vulkan/kv.h"
#include "backend/vulkan/program.h"
#include "kernels/formats/format.h"

namespace tern::backend::vulkan {
namespace {

// Blocks of random bytes that decode to numbers of ordinary size.
std::vector<std::byte> random_blocks(DType dtype, std::size_t count, std::vector<float>& decoded) {
    const DTypeInfo& i = info(dtype);
    std::vector<std::byte> bytes(count * i.block_bytes);
    decoded.resize(count * i.block);
    std::mt19937 random(1);
    for (std::size_t b = 0; b < count; ++b)
        for (bool sane = false; !sane;) {
            std::byte* block = bytes.data() + b * i.block_bytes;
            for (std::size_t k = 0; k < i.block_bytes; ++k) block[k] = static_cast<std::byte>(random());
            float* to = decoded.data() + b * i.block;
            kernels::format_ops(dtype).decode(block, to, i.block);
            sane = true;
            for (std::size_t k = 0; k < i.block; ++k)
                sane &= std::isfinite(to[k]) && std::abs(to[k]) < 1e3f &&
                        (to[k] == 0 || std::abs(to[k]) > 1e-20f);
        }
    return bytes;
}

}  // namespace

const char* to_string(ProductPath path) noexcept {
    return path == ProductPath::texels ? "TEXELS" : "BUFFERS";
}

ProductPath ProductPaths::of(DType dtype) {
    const std::lock_guard lock(device_->mutex());
    if (const auto found = known_.find(dtype); found != known_.end()) return found->second;
    // A software driver gathers texels with vector instructions, but loads from storage buffers lane by lane.
    const bool software = device_->info().software;
    for (const ProductPath path : {software ? ProductPath::texels : ProductPath::buffers,
                                   software ? ProductPath::buffers : ProductPath::texels}) {
        if (!distrusted_[path] && is_right(dtype, path)) return known_[dtype] = path;
        device_->log(
            true,
            fmt::format("{}: products of {} through {} give wrong results with this driver ({}) and are "
                        "not used",
                        device_->info().name, info(dtype).name,
                        path == ProductPath::texels ? "texels" : "storage buffers", device_->info().driver));
    }
    throw Error(ErrorCode::device,
                fmt::format("{}: products of {} give wrong results with this driver ({}); a newer driver "
                            "may help, or use backend 'cpu'",
                            device_->info().name, info(dtype).name, device_->info().driver));
}

bool ProductPaths::is_right(DType dtype, ProductPath path) {
    constexpr std::uint64_t kRows = 40;
    constexpr std::uint32_t kTokens = 9;
    const std::uint64_t cols = info(dtype).block == 256 ? 512 : 96;
    std::vector<float> decoded, x(kTokens * cols);
    const std::vector<std::byte> bytes = random_blocks(dtype, kRows * cols / info(dtype).block, decoded);
    std::mt19937 random(2);
    for (float& v : x) v = static_cast<float>(random()) * 0x1p-31f - 1.0f;
    graph::Graph g;
    const graph::Weight table{
        .data = x.data(), .dtype = DType::F32, .cols = cols, .rows = kTokens, .name = "self-test"};
    const graph::Weight weight{
        .data = bytes.data(), .dtype = dtype, .cols = cols, .rows = kRows, .name = "self-test"};
    g.set_logits(g.take_outputs(g.linear(g.embed(table), weight)));
    VulkanKv kv(device_, g, kv_groups(g, KvType::f32), KvType::f32, 1);
    VulkanProgram program(g, {kTokens, kTokens, kTokens}, device_, weights_, *this, path);
    // One token and several take other shaders.
    for (const std::uint32_t n : {1u, kTokens}) {
        std::vector<TokenId> tokens;
        std::vector<std::uint32_t> outputs;
        for (std::uint32_t t = 0; t < n; ++t) {
            tokens.push_back(static_cast<TokenId>(t));
            outputs.push_back(t);
        }
        const std::uint32_t page = 0;
        const Segment segment{.first = 0, .count = n, .position = 0, .pages = {&page, 1}};
        const std::span<const float> got =
            program.run({.tokens = tokens, .segments = {&segment, 1}, .outputs = outputs}, kv);
        for (std::uint32_t t = 0; t < n; ++t)
            for (std::uint64_t r = 0; r < kRows; ++r) {
                double exact = 0, size = 0;
                for (std::uint64_t k = 0; k < cols; ++k) {
                    const double product = static_cast<double>(decoded[r * cols + k]) * x[t * cols + k];
                    exact += product;
                    size += std::abs(product);
                }
                // Each product and each addition rounds once, in whatever order; four times that.
                const double bound = 4 * static_cast<double>(cols + 8) * 0x1p-24 * size + 1e-30;
                if (!(std::abs(got[t * kRows + r] - exact) <= bound)) return false;
            }
    }
    return true;
}

}  // namespace tern::backend::vulkan
