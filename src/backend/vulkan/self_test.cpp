#include "backend/vulkan/self_test.h"

#include <fmt/format.h>

#include <cmath>
#include <random>
#include <vector>

#include "backend/vulkan/kv.h"
#include "backend/vulkan/program.h"
#include "kernels/formats/format.h"
#include "kernels/kernel.h"

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

std::span<const ProductPathInfo> all_product_paths() noexcept {
    using enum ProductPath;
    static constexpr ProductPathInfo kInfo[] = {
        {buffers, "buffers", "matmul/BUFFERS", "through storage buffers", false, Activations::packed, false},
        {texels, "texels", "matmul/TEXELS", "through texels", false, Activations::texels, false},
        {dots, "dots", "matmul/DOTS", "by integer dot products", false, Activations::packed, true},
        {tiles, "tiles", "matmul_tiles/BUFFERS", "in tiles", true, Activations::packed, false},
        {tile_dots, "tile-dots", "matmul_tiles/DOTS", "in tiles by integer dot products", true,
         Activations::packed, true},
    };
    return kInfo;
}

const ProductPathInfo& info_of(ProductPath path) noexcept {
    return all_product_paths()[static_cast<std::size_t>(path)];
}

Activations activations_of(ProductPath path, DType dtype) noexcept {
    return kernels::act_kind(dtype) == kernels::ActKind::f32 ? Activations::f32 : info_of(path).quantised;
}

ProductChoice ProductPaths::of(DType dtype) {
    const std::lock_guard lock(device_->mutex());
    if (const auto found = known_.find(dtype); found != known_.end()) return found->second;
    const DeviceInfo& d = device_->info();
    const bool quantised = kernels::act_kind(dtype) != kernels::ActKind::f32;
    const bool dots = d.integer_dot && quantised;
    std::vector<ProductPath> few, many;
    if (forced_ && (quantised || !info_of(*forced_).integer_dot)) {
        few = many = {*forced_};
    } else if (d.software) {
        // A software driver gathers texels with vector instructions, but loads from storage buffers lane by
        // lane, and a workgroup's memory is none faster.
        few = many = {ProductPath::texels, ProductPath::buffers};
    } else {
        if (dots) few.push_back(ProductPath::dots);
        few.insert(few.end(), {ProductPath::buffers, ProductPath::texels});
        if (dots) many.push_back(ProductPath::tile_dots);
        many.push_back(ProductPath::tiles);
        many.insert(many.end(), few.begin(), few.end());
    }
    const ProductPath best = first_right(dtype, few);
    return known_[dtype] = {best, first_right(dtype, many)};
}

ProductPath ProductPaths::first_right(DType dtype, const std::vector<ProductPath>& paths) {
    for (const ProductPath path : paths) {
        const auto [tried, fresh] = tried_.try_emplace({dtype, path}, false);
        if (fresh) {
            tried->second = !distrusted_[path] && is_right(dtype, path);
            if (!tried->second)
                device_->log(
                    true,
                    fmt::format("{}: products of {} {} give wrong results with this driver ({}) and are not "
                                "used",
                                device_->info().name, info(dtype).name, info_of(path).words,
                                device_->info().driver));
        }
        if (tried->second) return path;
    }
    throw Error(ErrorCode::device,
                fmt::format("{}: products of {} give wrong results with this driver ({}); a newer driver "
                            "may help, or use backend 'cpu'",
                            device_->info().name, info(dtype).name, device_->info().driver));
}

bool ProductPaths::is_right(DType dtype, ProductPath path) {
    // Tiles have 64 rows and tokens; fewer tokens than one, and no multiple of it.
    const bool tiles = info_of(path).tiles;
    const std::uint64_t kRows = tiles ? 72 : 40;
    const std::uint32_t kTokens = tiles ? 70 : 9;
    const std::uint64_t cols = info(dtype).block == 256 ? 512 : 96;
    std::vector<float> decoded, x(kTokens * cols);
    const std::vector<std::byte> bytes = random_blocks(dtype, kRows * cols / info(dtype).block, decoded);
    // Quantising these changes nothing: multiples of 1/64, the largest of each block being 127/64.
    std::mt19937 random(2);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(i % 32 == 9 ? 127 : static_cast<int>(random() % 255) - 127) / 64;
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
