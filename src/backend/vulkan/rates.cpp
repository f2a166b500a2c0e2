#include "backend/vulkan/rates.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace tern::backend::vulkan {
namespace {

constexpr std::uint64_t kCopyBytes = std::uint64_t{128} << 20;
constexpr std::uint32_t kGroups = 4096, kLanes = 64, kChains = 8;
constexpr double kLongEnough = 0.03;  // seconds, so that starting and waiting do not count

double seconds(const std::function<void()>& run) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// 1e9 operations a second of a shader that repeats kChains multiply-adds; `each`: operations of one of a
// lane.
double compute_rate(Device& device, const char* shader, double each,
                    std::span<const std::uint32_t> constants = {}) {
    const Device::Pipeline& pipeline = device.pipeline(shader, 2, 0, constants);
    const Buffer batch = device.allocate(64, Memory::device, "a measurement"),
                 out = device.allocate(std::uint64_t{kGroups} * kLanes * 4, Memory::device, "a measurement");
    double best = 0;
    for (std::uint32_t n = each > 64 ? 4 : 64, round = 0; round < 3;) {
        const double took = seconds([&] {
            device.dispatch(pipeline, {batch.range(), out.range()}, n, kGroups);
        });
        if (took < kLongEnough && n < 1u << 20) {
            n *= 2;
            continue;
        }
        best = std::max(best, each * kChains * kLanes * kGroups * n / took * 1e-9);
        ++round;
    }
    return best;
}

// Of shaders/ops/rate_matrix.comp.
std::array<std::uint32_t, 13> matrix_constants(const DeviceInfo& d) {
    std::array<std::uint32_t, 13> constants{d.subgroup};
    constants[10] = d.matrix.m;
    constants[11] = d.matrix.n;
    constants[12] = d.matrix.k;
    return constants;
}

}  // namespace

DeviceRates measure_rates(Device& device) {
    const std::lock_guard lock(device.mutex());
    DeviceRates rates;
    {
        const std::uint64_t bytes = std::min(kCopyBytes, device.info().max_allocation);
        const Buffer from = device.allocate(bytes, Memory::device, "a measurement"),
                     to = device.allocate(bytes, Memory::device, "a measurement");
        for (std::uint32_t copies = 1, round = 0; round < 3;) {
            const auto record = [&](VkCommandBuffer commands) {
                const VkBufferCopy there{from.range().offset, to.range().offset, bytes};
                VkMemoryBarrier barrier{};
                barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
                barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
                barrier.dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
                for (std::uint32_t i = 0; i < copies; ++i) {
                    device.api().CmdCopyBuffer(commands, from.handle(), to.handle(), 1, &there);
                    device.api().CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                                    VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &barrier, 0,
                                                    nullptr, 0, nullptr);
                }
            };
            const double took = seconds([&] { device.run_once(record); });
            if (took < kLongEnough && copies < 4096) {
                copies *= 2;
                continue;
            }
            rates.copy_gb = std::max(rates.copy_gb, 2e-9 * static_cast<double>(bytes) * copies / took);
            ++round;
        }
    }
    rates.f32_gops = compute_rate(device, "rate/F32", 2);
    if (device.info().fp16) rates.f16_gops = compute_rate(device, "rate/F16", 4);
    if (device.info().integer_dot_supported) rates.int8_gops = compute_rate(device, "rate/INT8", 8);
    if (const MatrixShape& m = device.info().matrix)
        rates.matrix_gops =
            compute_rate(device, "rate_matrix", 2.0 * m.m * m.n * m.k / device.info().subgroup,
                         matrix_constants(device.info()));
    return rates;
}

std::vector<float> run_rate_matrix(Device& device, std::uint32_t n) {
    const std::lock_guard lock(device.mutex());
    const Device::Pipeline& pipeline = device.pipeline("rate_matrix", 2, 0, matrix_constants(device.info()));
    const Buffer batch = device.allocate(64, Memory::device, "a measurement"),
                 out = device.allocate(kLanes * 4, Memory::device, "a measurement");
    std::vector<float> y(kLanes);
    device.dispatch(pipeline, {batch.range(), out.range()}, n, 1);
    device.download(out, 0, std::as_writable_bytes(std::span(y)));
    return y;
}

}  // namespace tern::backend::vulkan
