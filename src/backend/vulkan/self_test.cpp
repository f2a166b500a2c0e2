#include "backend/vulkan/self_test.h"

#include <fmt/format.h>

#include <algorithm>
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
        {half, "half", "matmul_half/HALF", "in fp16", true, Activations::half, false, true},
        {matrix, "matrix", "matmul_half/MATRIX", "by cooperative matrices", true, Activations::half, false,
         true},
    };
    return kInfo;
}

const ProductPathInfo& info_of(ProductPath path) noexcept {
    return all_product_paths()[static_cast<std::size_t>(path)];
}

std::string lacks(ProductPath path, const DeviceInfo& d) {
    const ProductPathInfo& i = info_of(path);
    if (i.integer_dot && !d.integer_dot_supported)
        return "integer dot products, which its driver does not support";
    if (i.half && !d.fp16) return "fp16 arithmetic, which its driver does not support";
    if (path != ProductPath::matrix) return {};
    if (!d.matrix) return "cooperative matrices, which its driver does not support";
    // A subgroup's matrices lie beside each other in a tile of 64 x 64, eight at most; all leave their sums
    // in the workgroup's memory.
    const MatrixShape& m = d.matrix;
    const std::uint32_t subgroups = 256 / d.subgroup,
                        each = (64 / m.m * (64 / m.n) + subgroups - 1) / subgroups;
    if (each > std::min(8u, 64 / m.n) || 10240 + subgroups * m.m * m.n * 4 > d.shared_bytes)
        return fmt::format("cooperative matrices of another shape than {}x{}x{} in subgroups of {}", m.m, m.n,
                           m.k, d.subgroup);
    return {};
}

Activations activations_of(ProductPath path, DType dtype) noexcept {
    if (info_of(path).half) return Activations::half;
    return kernels::act_kind(dtype) == kernels::ActKind::f32 ? Activations::f32 : info_of(path).quantised;
}

bool ProductPaths::half() const noexcept {
    return forced_ ? info_of(*forced_).half : half_ && device_->info().fp16;
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
    if (half() && !forced_)
        for (const ProductPath path : {ProductPath::half, ProductPath::matrix})
            if (lacks(path, d).empty()) many.insert(many.begin(), path);
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
    double off = 0, all = 0;
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
                double exact = 0, size = 0, w_most = 0, x_most = 0, x_sum = 0;
                for (std::uint64_t k = 0; k < cols; ++k) {
                    const double product = static_cast<double>(decoded[r * cols + k]) * x[t * cols + k];
                    exact += product;
                    size += std::abs(product);
                    w_most = std::max(w_most, std::abs(static_cast<double>(decoded[r * cols + k])));
                    x_most = std::max(x_most, std::abs(static_cast<double>(x[t * cols + k])));
                    x_sum += std::abs(static_cast<double>(x[t * cols + k]));
                }
                // Each product and each addition rounds once, in whatever order; four times that.
                double bound = 4 * static_cast<double>(cols + 8) * 0x1p-24 * size + 1e-30;
                if (info_of(path).half) {
                    // To 11 bits, to nearest or not: a weight, an activation, and 16 sums in f16 of which the
                    // last are two. What is below 2^-14 may be lost: of activations, the largest of which has
                    // 2^4, of weights, 2^5 (not by matrices), and of their products.
                    bound += (path == ProductPath::half ? 20 : 3) * 0x1p-10 * size;
                    bound += static_cast<double>(cols) * 3 * 0x1p-18 * w_most * x_most;
                    if (path == ProductPath::matrix) bound += 0x1p-14 * x_sum;
                }
                if (!(std::abs(got[t * kRows + r] - exact) <= bound)) return false;
                off += (got[t * kRows + r] - exact) * (got[t * kRows + r] - exact);
                all += exact * exact;
            }
    }
    // Independent errors of 2^-11 of each product leave some 1e-6.
    return !info_of(path).half || off <= 1e-4 * all;
}

}  // namespace tern::backend::vulkan
