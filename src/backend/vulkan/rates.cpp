#include "backend/vulkan/rates.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace tern::backend::vulkan {
namespace {

constexpr std::uint64_t kCopyBytes = std::uint64_t{128} << 20;
constexpr std::uint32_t kGroups = 4096, kLanes = 64, kChains = 8;
constexpr double kLongEnough = 0.03;  // seconds, so that starting and waiting do not count

double seconds(Device& device, const std::function<void(VkCommandBuffer)>& record) {
    const auto begin = std::chrono::steady_clock::now();
    device.run_once(record);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// A shader of which each of kGroups × kLanes invocations writes a number that depends on `n`.
class Repeated {
public:
    Repeated(Device& device, const char* shader, std::span<const std::uint32_t> constants)
        : device_(device),
          pipeline_(device.pipeline(shader, 2, 0, constants)),
          batch_(device.allocate(64, Memory::device, "a measurement")),
          out_(device.allocate(std::uint64_t{kGroups} * kLanes * 4, Memory::device, "a measurement")) {
        const DeviceApi& api = device_.api();
        const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 2};
        VkDescriptorPoolCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
        info.maxSets = 1;
        info.poolSizeCount = 1;
        info.pPoolSizes = &size;
        if (api.CreateDescriptorPool(device_.handle(), &info, nullptr, &pool_) != VK_SUCCESS) return;
        VkDescriptorSetAllocateInfo allocate{};
        allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
        allocate.descriptorPool = pool_;
        allocate.descriptorSetCount = 1;
        allocate.pSetLayouts = &pipeline_.set_layout;
        if (api.AllocateDescriptorSets(device_.handle(), &allocate, &set_) != VK_SUCCESS) return;
        const VkDescriptorBufferInfo buffers[] = {{batch_.handle(), batch_.range().offset, batch_.size()},
                                                  {out_.handle(), out_.range().offset, out_.size()}};
        VkWriteDescriptorSet write{};
        write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
        write.dstSet = set_;
        write.descriptorCount = 2;
        write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        write.pBufferInfo = buffers;
        api.UpdateDescriptorSets(device_.handle(), 1, &write, 0, nullptr);
        ready_ = true;
    }
    ~Repeated() { device_.api().DestroyDescriptorPool(device_.handle(), pool_, nullptr); }
    Repeated(const Repeated&) = delete;
    Repeated& operator=(const Repeated&) = delete;

    bool ready() const noexcept { return ready_; }
    double run(std::uint32_t n, std::uint32_t groups = kGroups) {
        const DeviceApi& api = device_.api();
        return seconds(device_, [&](VkCommandBuffer commands) {
            api.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_.pipeline);
            api.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_.layout, 0, 1, &set_,
                                      0, nullptr);
            std::uint32_t push[kPushBytes / 4] = {n};
            api.CmdPushConstants(commands, pipeline_.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes,
                                 push);
            api.CmdDispatch(commands, groups, 1, 1);
        });
    }
    const Buffer& out() const noexcept { return out_; }

private:
    Device& device_;
    const Device::Pipeline& pipeline_;
    const Buffer batch_, out_;
    VkDescriptorPool pool_ = VK_NULL_HANDLE;
    VkDescriptorSet set_ = VK_NULL_HANDLE;
    bool ready_ = false;
};

// 1e9 operations a second; `each`: operations of a multiply-add of a lane.
double compute_rate(Device& device, const char* shader, double each,
                    std::span<const std::uint32_t> constants = {}) {
    Repeated repeated(device, shader, constants);
    if (!repeated.ready()) return 0;
    double best = 0;
    for (std::uint32_t n = each > 64 ? 4 : 64, round = 0; round < 3;) {
        const double took = repeated.run(n);
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
            const double took = seconds(device, [&](VkCommandBuffer commands) {
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
            });
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
    Repeated repeated(device, "rate_matrix", matrix_constants(device.info()));
    std::vector<float> y(kLanes);
    if (repeated.ready()) repeated.run(n, 1);
    device.download(repeated.out(), 0, std::as_writable_bytes(std::span(y)));
    return y;
}

}  // namespace tern::backend::vulkan
