#include "backend/vulkan/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "backend/vulkan/shaders.h"
#include "base/hash.h"

namespace tern::backend::vulkan {
namespace {

constexpr double MiB = 1 << 20;
constexpr std::uint64_t kBlockBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kStagingBytes = std::uint64_t{16} << 20;
// Every offset a shader may be given: no device asks for more.
constexpr std::uint64_t kAlignment = 256;
// A step that takes longer has hung.
constexpr std::uint64_t kTimeoutNs = 600'000'000'000ull;

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t to) {
    return (n + to - 1) / to * to;
}

std::string upper(std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
}

const char* kind_of(VkPhysicalDeviceType type) {
    switch (type) {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
            return "discrete";
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
            return "integrated";
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
            return "virtual";
        case VK_PHYSICAL_DEVICE_TYPE_CPU:
            return "cpu";
        default:
            return "other";
    }
}

std::vector<VkPhysicalDevice> physical_devices(const Api& api) {
    std::uint32_t n = 0;
    if (api.EnumeratePhysicalDevices(api.instance, &n, nullptr) != VK_SUCCESS) return {};
    std::vector<VkPhysicalDevice> devices(n);
    if (api.EnumeratePhysicalDevices(api.instance, &n, devices.data()) < 0) return {};
    devices.resize(n);
    return devices;
}

std::uint32_t compute_family(const Api& api, VkPhysicalDevice device) {
    std::uint32_t n = 0;
    api.GetPhysicalDeviceQueueFamilyProperties(device, &n, nullptr);
    std::vector<VkQueueFamilyProperties> families(n);
    api.GetPhysicalDeviceQueueFamilyProperties(device, &n, families.data());
    for (std::uint32_t i = 0; i < n; ++i)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) return i;
    return ~0u;
}

bool has_extension(const Api& api, VkPhysicalDevice device, std::string_view name) {
    std::uint32_t n = 0;
    if (api.EnumerateDeviceExtensionProperties(device, nullptr, &n, nullptr) != VK_SUCCESS) return false;
    std::vector<VkExtensionProperties> list(n);
    if (api.EnumerateDeviceExtensionProperties(device, nullptr, &n, list.data()) < 0) return false;
    list.resize(n);
    return std::any_of(list.begin(), list.end(),
                       [&](const VkExtensionProperties& e) { return name == e.extensionName; });
}

// Nothing, where shaders cannot use them.
MatrixShape matrix_shape(const Api& api, VkPhysicalDevice device) {
    const auto list = api.GetPhysicalDeviceCooperativeMatrixPropertiesKHR;
    if (!list || !has_extension(api, device, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) return {};
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices{};
    matrices.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    VkPhysicalDeviceVulkan12Features f12{};
    f12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    f12.pNext = &matrices;
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features.pNext = &f12;
    api.GetPhysicalDeviceFeatures2(device, &features);
    VkPhysicalDeviceCooperativeMatrixPropertiesKHR stages{};
    stages.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &stages;
    api.GetPhysicalDeviceProperties2(device, &properties);
    // The extension is used with the Vulkan memory model only.
    if (!matrices.cooperativeMatrix || !f12.vulkanMemoryModel || !f12.shaderFloat16 ||
        !(stages.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
        return {};
    std::uint32_t n = 0;
    if (list(device, &n, nullptr) != VK_SUCCESS) return {};
    VkCooperativeMatrixPropertiesKHR empty{};
    empty.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    std::vector<VkCooperativeMatrixPropertiesKHR> offered(n, empty);
    if (list(device, &n, offered.data()) < 0) return {};
    offered.resize(n);
    return choose_matrix(offered);
}

// The largest device-local heap.
struct Heap {
    std::uint32_t index = 0;
    std::uint64_t size = 0;
    std::uint64_t budget = 0, usage = 0;  // of this process; 0 where the driver does not say
};
Heap main_heap(const Api& api, VkPhysicalDevice device, bool says_budget) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT said{};
    said.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
    VkPhysicalDeviceMemoryProperties2 memory{};
    memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
    if (says_budget) memory.pNext = &said;
    api.GetPhysicalDeviceMemoryProperties2(device, &memory);
    Heap heap;
    for (std::uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i) {
        const VkMemoryHeap& h = memory.memoryProperties.memoryHeaps[i];
        if ((h.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && h.size > heap.size)
            heap = {i, h.size, said.heapBudget[i], said.heapUsage[i]};
    }
    return heap;
}

// What is left of a budget beside others in this process. Software devices name the usage of the whole
// system, which is not part of what they call the budget.
std::uint64_t left_to_us(const DeviceInfo& info, std::uint64_t budget, std::uint64_t others) {
    if (info.software) others = 0;
    return std::clamp<std::uint64_t>(budget - std::min(budget, others), 1,
                                     std::max<std::uint64_t>(1, info.memory));
}

DeviceInfo describe(const Api& api, VkPhysicalDevice device) {
    DeviceInfo info;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    api.GetPhysicalDeviceProperties2(device, &properties);
    info.api_version = std::min(properties.properties.apiVersion, api.version);
    const bool v12 = info.api_version >= VK_API_VERSION_1_2, v13 = info.api_version >= VK_API_VERSION_1_3;

    VkPhysicalDeviceSubgroupProperties subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    VkPhysicalDeviceMaintenance3Properties limits{};
    limits.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
    VkPhysicalDeviceDriverProperties driver{};
    driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    VkPhysicalDeviceVulkan13Properties p13{};
    p13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES;
    subgroup.pNext = &limits;
    if (v12) limits.pNext = &driver;
    if (v13) driver.pNext = &p13;
    properties.pNext = &subgroup;
    api.GetPhysicalDeviceProperties2(device, &properties);

    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    VkPhysicalDeviceVulkan12Features f12{};
    f12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    VkPhysicalDeviceVulkan13Features f13{};
    f13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
    if (v12) features.pNext = &f12;
    if (v13) f12.pNext = &f13;
    api.GetPhysicalDeviceFeatures2(device, &features);

    const VkPhysicalDeviceProperties& p = properties.properties;
    info.name = p.deviceName;
    info.kind = kind_of(p.deviceType);
    info.driver = v12 ? fmt::format("{} {}", driver.driverName, driver.driverInfo) : std::string();
    info.software = p.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    const bool says_budget = has_extension(api, device, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    const Heap heap = main_heap(api, device, says_budget);
    info.memory = heap.size;
    if (says_budget) info.budget = left_to_us(info, heap.budget, heap.usage);
    info.max_allocation = limits.maxMemoryAllocationSize;
    info.max_binding = p.limits.maxStorageBufferRange;
    info.max_texels = p.limits.maxTexelBufferElements;
    info.subgroup = subgroup.subgroupSize;
    info.shared_bytes = p.limits.maxComputeSharedMemorySize;
    info.max_invocations =
        std::min(p.limits.maxComputeWorkGroupInvocations, p.limits.maxComputeWorkGroupSize[0]);
    info.binding_alignment = static_cast<std::uint32_t>(p.limits.minStorageBufferOffsetAlignment);
    info.fp16 = v12 && f12.shaderFloat16;
    info.fp64 = features.features.shaderFloat64;
    info.integer_dot_supported = v13 && f13.shaderIntegerDotProduct;
    info.integer_dot =
        v13 && f13.shaderIntegerDotProduct && p13.integerDotProduct4x8BitPackedSignedAccelerated;
    if (v13 && f13.subgroupSizeControl && (p13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT)) {
        info.subgroup_size_control = true;
        // 32 where the device has the choice: what the shaders' groups of rows are.
        if (p13.minSubgroupSize <= 32 && p13.maxSubgroupSize >= 32) info.subgroup = 32;
    }
    if (v12) info.matrix = matrix_shape(api, device);
    info.timestamp_ns =
        p.limits.timestampComputeAndGraphics ? static_cast<double>(p.limits.timestampPeriod) : 0;

    constexpr VkSubgroupFeatureFlags kNeeded =
        VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT | VK_SUBGROUP_FEATURE_BALLOT_BIT |
        VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    if (info.api_version < VK_API_VERSION_1_2)
        info.unusable = "its driver supports less than Vulkan 1.2";
    else if (compute_family(api, device) == ~0u)
        info.unusable = "it has no queue for compute shaders";
    else if (!(subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) ||
             (subgroup.supportedOperations & kNeeded) != kNeeded)
        info.unusable = "its compute shaders lack subgroup arithmetic, ballot or shuffle";
    else if (info.subgroup < 8 || info.subgroup > 64)
        info.unusable = fmt::format("its subgroups have {} lanes; 8 to 64 are supported", info.subgroup);
    else if (info.max_invocations < 256)
        info.unusable =
            fmt::format("its workgroups have {} invocations at most; 256 are needed", info.max_invocations);
    return info;
}

}  // namespace

std::vector<DeviceInfo> list_devices(std::string& why) {
    const std::shared_ptr<const Api> api = Api::open(why);
    std::vector<DeviceInfo> list;
    if (!api) return list;
    for (const VkPhysicalDevice device : physical_devices(*api)) list.push_back(describe(*api, device));
    if (list.empty()) why = "the Vulkan loader here knows no device; the graphics driver must support Vulkan";
    return list;
}

std::size_t choose_device(const std::vector<DeviceInfo>& devices) noexcept {
    std::size_t best = devices.size();
    const auto better = [](const DeviceInfo& a, const DeviceInfo& b) {
        return a.software != b.software ? b.software : a.memory > b.memory;
    };
    for (std::size_t i = 0; i < devices.size(); ++i)
        if (devices[i].unusable.empty() && (best == devices.size() || better(devices[i], devices[best])))
            best = i;
    return best;
}

MatrixShape choose_matrix(std::span<const VkCooperativeMatrixPropertiesKHR> offered) noexcept {
    const auto fits = [](std::uint32_t n) { return std::has_single_bit(n) && n >= 8 && n <= 32; };
    MatrixShape best;
    for (const VkCooperativeMatrixPropertiesKHR& o : offered) {
        if (o.AType != VK_COMPONENT_TYPE_FLOAT16_KHR || o.BType != VK_COMPONENT_TYPE_FLOAT16_KHR ||
            o.CType != VK_COMPONENT_TYPE_FLOAT32_KHR || o.ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR ||
            o.scope != VK_SCOPE_SUBGROUP_KHR || !fits(o.MSize) || !fits(o.NSize) || !fits(o.KSize))
            continue;
        if (o.MSize * o.NSize * o.KSize > best.m * best.n * best.k) best = {o.MSize, o.NSize, o.KSize};
    }
    return best;
}

const Shader* find_shader(std::string_view name) noexcept {
    for (const Shader& shader : all_shaders())
        if (shader.name == name) return &shader;
    return nullptr;
}

// ---- memory

// One VkDeviceMemory under one VkBuffer, cut into ranges.
struct Device::Block {
    VkDeviceMemory memory = VK_NULL_HANDLE;
    VkBuffer buffer = VK_NULL_HANDLE;
    std::uint64_t size = 0, used = 0;
    Memory kind = Memory::device;
    std::uint32_t heap = 0;
    std::byte* host = nullptr;
    std::map<std::uint64_t, std::uint64_t> free;  // offset -> bytes; neighbours are joined
};

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    if (this == &other) return *this;
    reset();
    device_ = std::exchange(other.device_, nullptr);
    buffer_ = std::exchange(other.buffer_, VK_NULL_HANDLE);
    block_ = other.block_;
    offset_ = other.offset_;
    size_ = std::exchange(other.size_, 0);
    reserved_ = other.reserved_;
    host_ = std::exchange(other.host_, nullptr);
    return *this;
}

void Buffer::reset() noexcept {
    if (device_) device_->give_back(*this);
    device_ = nullptr;
    buffer_ = VK_NULL_HANDLE;
    size_ = 0;
    host_ = nullptr;
}

Range Buffer::range(std::uint64_t offset, std::uint64_t size) const noexcept {
    return {buffer_, offset_ + offset, size};
}

void Device::give_back(Buffer& b) noexcept {
    const std::lock_guard lock(mutex_);
    Block& block = *blocks_[b.block_];
    allocated_ -= b.reserved_;
    block.used -= b.reserved_;
    if (block.used == 0) {  // an empty block goes back to the driver
        if (block.host) api_.UnmapMemory(device_, block.memory);
        api_.DestroyBuffer(device_, block.buffer, nullptr);
        api_.FreeMemory(device_, block.memory, nullptr);
        blocks_[b.block_].reset();
        return;
    }
    auto next = block.free.emplace(b.offset_, b.reserved_).first;
    if (next != block.free.begin())
        if (auto before = std::prev(next); before->first + before->second == next->first) {
            before->second += next->second;
            block.free.erase(next);
            next = before;
        }
    if (auto after = std::next(next);
        after != block.free.end() && next->first + next->second == after->first) {
        next->second += after->second;
        block.free.erase(after);
    }
}

std::uint32_t Device::memory_type(std::uint32_t allowed, VkMemoryPropertyFlags flags) const {
    for (std::uint32_t i = 0; i < memory_.memoryTypeCount; ++i)
        if ((allowed & (1u << i)) && (memory_.memoryTypes[i].propertyFlags & flags) == flags) return i;
    return ~0u;
}

Buffer Device::allocate(std::uint64_t bytes, Memory memory, const std::string& what) {
    const std::lock_guard lock(mutex_);
    Buffer out;
    if (bytes == 0) bytes = 4;
    const std::uint64_t reserved = round_up(bytes, kAlignment);
    const auto refuse = [&](const std::string& reason) -> Error {
        return Error(
            ErrorCode::out_of_memory,
            fmt::format(
                "{}: {:.1f} MiB for {} {}; {:.1f} MiB of {:.1f} MiB are taken by this process: a smaller "
                "context, fewer sequences, fewer layers on the device or a smaller format would need less",
                info_.name, static_cast<double>(bytes) / MiB, what, reason,
                static_cast<double>(allocated_) / MiB, static_cast<double>(info_.memory) / MiB));
    };
    if (reserved > info_.max_allocation)
        throw refuse(fmt::format("are more than one allocation of this device holds ({:.1f} MiB)",
                                 static_cast<double>(info_.max_allocation) / MiB));
    if (allocated_ + reserved > memory_limit_) throw refuse("do not fit");
    const auto take = [&](std::size_t index, std::uint64_t offset, std::uint64_t room) {
        Block& block = *blocks_[index];
        block.free.erase(offset);
        if (room > reserved) block.free.emplace(offset + reserved, room - reserved);
        block.used += reserved;
        allocated_ += reserved;
        out.device_ = this;
        out.buffer_ = block.buffer;
        out.block_ = index;
        out.offset_ = offset;
        out.size_ = bytes;
        out.reserved_ = reserved;
        out.host_ = block.host ? block.host + offset : nullptr;
    };
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        if (!blocks_[i] || blocks_[i]->kind != memory) continue;
        for (const auto& [offset, room] : blocks_[i]->free)
            if (room >= reserved) {
                take(i, offset, room);
                return out;
            }
    }
    auto block = std::make_unique<Block>();
    block->kind = memory;
    block->size = reserved > kBlockBytes / 2 ? reserved : std::min(kBlockBytes, info_.max_allocation);
    const auto slot = std::find(blocks_.begin(), blocks_.end(), nullptr);
    const auto index = static_cast<std::size_t>(slot - blocks_.begin());
    if (slot == blocks_.end()) blocks_.emplace_back();  // may throw, before there is anything to give back

    VkBufferCreateInfo create{};
    create.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    create.size = block->size;
    create.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                   VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                   VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT;
    if (api_.CreateBuffer(device_, &create, nullptr, &block->buffer) != VK_SUCCESS)
        throw refuse("do not fit");
    VkMemoryRequirements need{};
    api_.GetBufferMemoryRequirements(device_, block->buffer, &need);
    constexpr VkMemoryPropertyFlags kHost =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    std::uint32_t type = ~0u;
    if (memory == Memory::host) {  // what the host reads should be cached
        type = memory_type(need.memoryTypeBits, kHost | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
        if (type == ~0u) type = memory_type(need.memoryTypeBits, kHost);
    } else {
        type = memory_type(need.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
        if (type == ~0u) type = memory_type(need.memoryTypeBits, 0);
    }
    VkMemoryAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    allocate.allocationSize = need.size;
    allocate.memoryTypeIndex = type;
    void* host = nullptr;
    VkResult result = type == ~0u ? VK_ERROR_OUT_OF_DEVICE_MEMORY
                                  : api_.AllocateMemory(device_, &allocate, nullptr, &block->memory);
    if (result == VK_SUCCESS) result = api_.BindBufferMemory(device_, block->buffer, block->memory, 0);
    if (result == VK_SUCCESS && memory == Memory::host)
        result = api_.MapMemory(device_, block->memory, 0, VK_WHOLE_SIZE, 0, &host);
    if (result != VK_SUCCESS) {
        api_.DestroyBuffer(device_, block->buffer, nullptr);
        if (block->memory) api_.FreeMemory(device_, block->memory, nullptr);
        throw refuse(fmt::format("do not fit ({})", to_string(result)));
    }
    block->heap = memory_.memoryTypes[type].heapIndex;
    block->host = static_cast<std::byte*>(host);
    blocks_[index] = std::move(block);
    take(index, 0, blocks_[index]->size);
    return out;
}

std::optional<std::uint64_t> Device::budget() {
    const std::lock_guard lock(mutex_);
    if (pretended_) return left_to_us(info_, pretended_->first, pretended_->second);
    if (!info_.budget) return std::nullopt;
    const Heap heap = main_heap(*instance_, physical_, true);
    std::uint64_t own = 0;
    for (const auto& block : blocks_)
        if (block && block->heap == heap.index) own += block->size;
    return left_to_us(info_, heap.budget, heap.usage - std::min(heap.usage, own));
}

// ---- the device

void Device::check(VkResult result, const char* what) const {
    if (result == VK_SUCCESS) return;
    const bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    throw Error(
        memory ? ErrorCode::out_of_memory : ErrorCode::device,
        fmt::format("{}: {} failed with {}{}", info_.name, what, to_string(result),
                    result == VK_ERROR_DEVICE_LOST
                        ? "; the driver gave the device up (a hang or a reset): a new Runtime opens it again, or use "
                          "backend 'cpu'"
                        : ""));
}

std::shared_ptr<Device> Device::open(const DeviceOptions& options) {
    std::string why;
    std::shared_ptr<Device> d(new Device, [](Device* device) { delete device; });
    d->options_ = options;
    d->instance_ = Api::open(why);
    if (!d->instance_) throw Error(ErrorCode::not_found, "backend 'vulkan': " + why);
    const Api& api = *d->instance_;
    const std::vector<VkPhysicalDevice> all = physical_devices(api);
    std::vector<DeviceInfo> infos;
    std::string known;
    for (std::size_t i = 0; i < all.size(); ++i) {
        infos.push_back(describe(api, all[i]));
        known += fmt::format("{}{}: {} ({})", i ? ", " : "", i, infos[i].name, infos[i].kind);
    }
    if (known.empty()) known = "none";
    std::size_t best = all.size();
    if (options.name.empty()) {
        best = choose_device(infos);
        if (best == all.size())
            throw Error(ErrorCode::not_found,
                        fmt::format("backend 'vulkan': no device that can run it; devices: {}", known));
        if (infos[best].software)
            d->log(true,
                   fmt::format(
                       "backend vulkan runs on '{}', a software device, as there is no graphics processor: "
                       "backend cpu is faster",
                       infos[best].name));
    } else {
        std::size_t number = all.size();
        const char* end = options.name.data() + options.name.size();
        if (const auto [p, e] = std::from_chars(options.name.data(), end, number);
            e == std::errc() && p == end)
            best = std::min(number, all.size());
        else
            for (std::size_t i = all.size(); i-- > 0;)
                if (upper(infos[i].name).find(upper(options.name)) != std::string::npos) best = i;
        if (best == all.size())
            throw Error(ErrorCode::not_found,
                        fmt::format("backend 'vulkan': no device '{}'; devices: {}", options.name, known));
    }
    d->info_ = infos[best];
    d->info_.number = static_cast<std::uint32_t>(best);
    d->physical_ = all[best];
    if (!d->info_.unusable.empty())
        throw Error(ErrorCode::unsupported,
                    fmt::format("backend 'vulkan': {}: {}", d->info_.name, d->info_.unusable));

    d->queue_family_ = compute_family(api, d->physical_);
    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue{};
    queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue.queueFamilyIndex = d->queue_family_;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkPhysicalDeviceVulkan13Features f13{};
    f13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
    f13.subgroupSizeControl = d->info_.subgroup_size_control;
    f13.shaderIntegerDotProduct = d->info_.integer_dot_supported;
    VkPhysicalDeviceVulkan12Features f12{};
    f12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    f12.shaderFloat16 = d->info_.fp16;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices{};
    matrices.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    std::vector<const char*> extensions;
    if (d->info_.budget) extensions.push_back(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (d->info_.matrix) {
        extensions.push_back(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
        matrices.cooperativeMatrix = VK_TRUE;
        f12.vulkanMemoryModel = VK_TRUE;
    }
    VkDeviceCreateInfo create{};
    create.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    create.ppEnabledExtensionNames = extensions.data();
    create.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    if (d->info_.api_version >= VK_API_VERSION_1_2) create.pNext = &f12;
    if (d->info_.api_version >= VK_API_VERSION_1_3) f12.pNext = &f13;
    if (d->info_.matrix) matrices.pNext = std::exchange(f12.pNext, &matrices);
    VkPhysicalDeviceFeatures basic{};
    basic.shaderFloat64 = d->info_.fp64;
    create.pEnabledFeatures = &basic;
    create.queueCreateInfoCount = 1;
    create.pQueueCreateInfos = &queue;
    d->check(api.CreateDevice(d->physical_, &create, nullptr, &d->device_), "opening the device");
    bool whole = true;
#define TERN_VK_LOAD(fn)                                                                    \
    d->api_.fn = reinterpret_cast<PFN_vk##fn>(api.GetDeviceProcAddr(d->device_, "vk" #fn)); \
    whole &= d->api_.fn != nullptr;
    TERN_VK_DEVICE(TERN_VK_LOAD)
#undef TERN_VK_LOAD
    if (!whole)
        throw Error(ErrorCode::device,
                    fmt::format("{}: its driver lacks functions of Vulkan 1.1", d->info_.name));
    d->api_.GetDeviceQueue(d->device_, d->queue_family_, 0, &d->queue_);
    VkPhysicalDeviceMemoryProperties2 memory{};
    memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
    api.GetPhysicalDeviceMemoryProperties2(d->physical_, &memory);
    d->memory_ = memory.memoryProperties;
    VkCommandPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    pool.queueFamilyIndex = d->queue_family_;
    d->check(d->api_.CreateCommandPool(d->device_, &pool, nullptr, &d->command_pool_),
             "making a command pool");
    VkFenceCreateInfo fence{};
    fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    d->check(d->api_.CreateFence(d->device_, &fence, nullptr, &d->fence_), "making a fence");
    d->load_cache();
    d->info_.arithmetic = try_arithmetic(*d);
    return d;
}

Device::~Device() {
    if (device_ && api_.DestroyDevice) {
        api_.DeviceWaitIdle(device_);
        save_cache();
        staging_.reset();
        for (const auto& [name, pipeline] : pipelines_)
            api_.DestroyPipeline(device_, pipeline.pipeline, nullptr);
        for (const auto& [bindings, pair] : layouts_) {
            api_.DestroyPipelineLayout(device_, pair.second, nullptr);
            api_.DestroyDescriptorSetLayout(device_, pair.first, nullptr);
        }
        if (cache_) api_.DestroyPipelineCache(device_, cache_, nullptr);
        if (fence_) api_.DestroyFence(device_, fence_, nullptr);
        if (command_pool_) api_.DestroyCommandPool(device_, command_pool_, nullptr);
        api_.DestroyDevice(device_, nullptr);
    }
}

// ---- pipelines

std::string Device::cache_file() const {
    // The driver checks its own header in the data; the name keeps devices and drivers apart.
    const std::string key = info_.name + "|" + info_.driver;
    return (std::filesystem::path(options_.cache_folder) /
            fmt::format("vulkan-{:016x}.bin", base::hash(std::as_bytes(std::span(key)))))
        .string();
}

void Device::load_cache() {
    std::vector<char> data;
    if (!options_.cache_folder.empty()) {
        std::ifstream in(cache_file(), std::ios::binary);
        if (in) data.assign(std::istreambuf_iterator<char>(in), {});
        // Length and checksum first: a torn file must not reach the driver.
        std::uint64_t head[2] = {};
        bool whole = data.size() > sizeof head;
        if (whole) {
            std::memcpy(head, data.data(), sizeof head);
            data.erase(data.begin(), data.begin() + sizeof head);
            whole = head[0] == data.size() && head[1] == base::hash(std::as_bytes(std::span(data)));
        }
        if (!whole) data.clear();
    }
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    info.initialDataSize = data.size();
    info.pInitialData = data.empty() ? nullptr : data.data();
    if (api_.CreatePipelineCache(device_, &info, nullptr, &cache_) == VK_SUCCESS) return;
    info.initialDataSize = 0;
    info.pInitialData = nullptr;
    check(api_.CreatePipelineCache(device_, &info, nullptr, &cache_), "making a pipeline cache");
}

void Device::save_cache() noexcept {
    const std::lock_guard lock(mutex_);
    if (options_.cache_folder.empty() || !cache_changed_ || !cache_) return;
    try {
        std::size_t n = 0;
        if (api_.GetPipelineCacheData(device_, cache_, &n, nullptr) != VK_SUCCESS || n == 0) return;
        std::vector<char> data(n);
        if (api_.GetPipelineCacheData(device_, cache_, &n, data.data()) != VK_SUCCESS) return;
        data.resize(n);
        const std::uint64_t head[2] = {n, base::hash(std::as_bytes(std::span(data)))};
        std::filesystem::create_directories(options_.cache_folder);
        const std::string file = cache_file(), fresh = file + ".new";
        {
            std::ofstream out(fresh, std::ios::binary);
            out.write(reinterpret_cast<const char*>(head), sizeof head)
                .write(data.data(), static_cast<std::streamsize>(n));
            if (!out.flush()) throw std::runtime_error("it cannot be written");
        }
        std::filesystem::rename(fresh, file);
        cache_changed_ = false;
    } catch (const std::exception& e) {
        log(true, fmt::format("compiled shaders were not kept in '{}': {}", options_.cache_folder, e.what()));
    }
}

const Device::Pipeline& Device::pipeline(const std::string& shader, std::uint32_t bindings,
                                         std::uint32_t texels, std::span<const std::uint32_t> constants) {
    const std::lock_guard lock(mutex_);
    std::string key = fmt::format("{}/{}/{}", shader, bindings, texels);
    for (const std::uint32_t c : constants) key += fmt::format(",{}", c);
    if (const auto found = pipelines_.find(key); found != pipelines_.end()) return found->second;
    const Shader* source = info_.arithmetic.doubles ? find_shader(shader + "+doubles") : nullptr;
    if (!source) source = find_shader(shader);
    if (!source)
        throw Error(ErrorCode::unsupported, fmt::format("backend 'vulkan' has no shader '{}'", shader));

    auto& [set_layout, layout] = layouts_[{bindings, texels}];
    if (!set_layout) {
        VkDescriptorSetLayoutBinding each[kMaxBindings]{};
        for (std::uint32_t i = 0; i < bindings; ++i)
            each[i] = {i,
                       (texels >> i & 1) ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                                         : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                       1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
        VkDescriptorSetLayoutCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
        info.bindingCount = bindings;
        info.pBindings = each;
        check(api_.CreateDescriptorSetLayout(device_, &info, nullptr, &set_layout),
              "making a descriptor layout");
    }
    if (!layout) {
        const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
        VkPipelineLayoutCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
        info.setLayoutCount = 1;
        info.pSetLayouts = &set_layout;
        info.pushConstantRangeCount = 1;
        info.pPushConstantRanges = &push;
        check(api_.CreatePipelineLayout(device_, &info, nullptr, &layout), "making a pipeline layout");
    }
    VkShaderModuleCreateInfo module_info{};
    module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module_info.codeSize = source->code.size_bytes();
    module_info.pCode = source->code.data();
    VkShaderModule module = VK_NULL_HANDLE;
    VkResult result =
        refuse_shaders_ ? VK_ERROR_UNKNOWN : api_.CreateShaderModule(device_, &module_info, nullptr, &module);
    Pipeline p{VK_NULL_HANDLE, layout, set_layout, bindings};
    if (result == VK_SUCCESS) {
        std::vector<VkSpecializationMapEntry> entries;
        std::vector<std::uint32_t> values(constants.begin(), constants.end());
        for (std::uint32_t i = 0; i < constants.size(); ++i) entries.push_back({i, i * 4, 4});
        for (const auto& [id, value] :
             {std::pair{100u, info_.arithmetic.divides}, {101u, info_.arithmetic.roots}}) {
            entries.push_back({id, static_cast<std::uint32_t>(values.size() * 4), 4});
            values.push_back(value);
        }
        const VkSpecializationInfo special{static_cast<std::uint32_t>(entries.size()), entries.data(),
                                           values.size() * 4, values.data()};
        VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size{};
        size.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
        size.requiredSubgroupSize = info_.subgroup;
        VkComputePipelineCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
        info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
        if (info_.subgroup_size_control) info.stage.pNext = &size;
        info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
        info.stage.module = module;
        info.stage.pName = "main";
        info.stage.pSpecializationInfo = &special;
        info.layout = layout;
        result = api_.CreateComputePipelines(device_, cache_, 1, &info, nullptr, &p.pipeline);
        api_.DestroyShaderModule(device_, module, nullptr);
    }
    if (result != VK_SUCCESS)
        throw Error(ErrorCode::device,
                    fmt::format("{}: its driver did not compile the shader '{}' ({}); a newer driver may, "
                                "or use backend 'cpu'",
                                info_.name, key, to_string(result)));
    cache_changed_ = true;
    return pipelines_.emplace(std::move(key), p).first->second;
}

// ---- commands

void Device::submit_and_wait(VkCommandBuffer commands) {
    const std::lock_guard lock(mutex_);
    if (injected_ != VK_SUCCESS) check(injected_, "a computation");
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;
    check(api_.ResetFences(device_, 1, &fence_), "resetting a fence");
    check(api_.QueueSubmit(queue_, 1, &submit, fence_), "submitting a computation");
    check(api_.WaitForFences(device_, 1, &fence_, VK_TRUE, kTimeoutNs), "waiting for a computation");
}

void Device::run_once(const std::function<void(VkCommandBuffer)>& record) {
    const std::lock_guard lock(mutex_);
    VkCommandBufferAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = command_pool_;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    check(api_.AllocateCommandBuffers(device_, &info, &commands), "making a command buffer");
    const auto free = [&](VkCommandBuffer* c) { api_.FreeCommandBuffers(device_, command_pool_, 1, c); };
    const std::unique_ptr<VkCommandBuffer, decltype(free)> keeper(&commands, free);
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    check(api_.BeginCommandBuffer(commands, &begin), "recording");
    record(commands);
    // What was written is there for whatever comes next, the host included.
    VkMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT;
    api_.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                            VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier,
                            0, nullptr, 0, nullptr);
    check(api_.EndCommandBuffer(commands), "recording");
    submit_and_wait(commands);
}

void Device::dispatch(const Pipeline& pipeline, std::initializer_list<Range> buffers, std::uint32_t push,
                      std::uint32_t groups) {
    const std::lock_guard lock(mutex_);
    const auto count = static_cast<std::uint32_t>(buffers.size());
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count};
    VkDescriptorPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    info.maxSets = 1;
    info.poolSizeCount = 1;
    info.pPoolSizes = &size;
    VkDescriptorPool pool = VK_NULL_HANDLE;
    check(api_.CreateDescriptorPool(device_, &info, nullptr, &pool), "making descriptors");
    const auto destroy = [&](VkDescriptorPool* p) { api_.DestroyDescriptorPool(device_, *p, nullptr); };
    const std::unique_ptr<VkDescriptorPool, decltype(destroy)> keeper(&pool, destroy);
    VkDescriptorSetAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    allocate.descriptorPool = pool;
    allocate.descriptorSetCount = 1;
    allocate.pSetLayouts = &pipeline.set_layout;
    VkDescriptorSet set = VK_NULL_HANDLE;
    check(api_.AllocateDescriptorSets(device_, &allocate, &set), "making descriptors");
    std::vector<VkDescriptorBufferInfo> bound;
    for (const Range& r : buffers) bound.push_back({r.buffer, r.offset, r.size});
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = set;
    write.descriptorCount = count;
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = bound.data();
    api_.UpdateDescriptorSets(device_, 1, &write, 0, nullptr);
    run_once([&](VkCommandBuffer commands) {
        api_.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline);
        api_.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &set, 0,
                                   nullptr);
        const std::uint32_t words[kPushBytes / 4] = {push};
        api_.CmdPushConstants(commands, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes, words);
        api_.CmdDispatch(commands, groups, 1, 1);
    });
}

void Device::upload(const Buffer& to, std::uint64_t offset, std::span<const std::byte> from) {
    upload(to, offset, from.size(), 1, [&](std::uint64_t begin, std::span<std::byte> piece) {
        std::memcpy(piece.data(), from.data() + begin, piece.size());
    });
}

void Device::upload(const Buffer& to, std::uint64_t offset, std::uint64_t bytes, std::uint64_t grain,
                    const std::function<void(std::uint64_t, std::span<std::byte>)>& fill) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t want = std::min(bytes, std::max(grain, kStagingBytes / grain * grain));
    if (!staging_ || staging_.size() < want) {
        staging_.reset();
        staging_ = allocate(want, Memory::host, "the transfer of weights");
    }
    const std::uint64_t piece = std::max(grain, staging_.size() / grain * grain);
    for (std::uint64_t at = 0; at < bytes; at += piece) {
        const std::uint64_t n = std::min(piece, bytes - at);
        fill(at, {staging_.host(), n});
        run_once([&](VkCommandBuffer commands) {
            const VkBufferCopy copy{staging_.range().offset, to.range().offset + offset + at, n};
            api_.CmdCopyBuffer(commands, staging_.handle(), to.handle(), 1, &copy);
        });
    }
}

void Device::release_staging() noexcept {
    const std::lock_guard lock(mutex_);
    staging_.reset();
}

void Device::download(const Buffer& from, std::uint64_t offset, std::span<std::byte> to) {
    const std::lock_guard lock(mutex_);
    if (!staging_)
        staging_ = allocate(std::min<std::uint64_t>(to.size(), kStagingBytes), Memory::host, "a transfer");
    for (std::uint64_t at = 0; at < to.size(); at += staging_.size()) {
        const std::uint64_t n = std::min<std::uint64_t>(staging_.size(), to.size() - at);
        run_once([&](VkCommandBuffer commands) {
            const VkBufferCopy copy{from.range().offset + offset + at, staging_.range().offset, n};
            api_.CmdCopyBuffer(commands, from.handle(), staging_.handle(), 1, &copy);
        });
        std::memcpy(to.data() + at, staging_.host(), n);
    }
}

}  // namespace tern::backend::vulkan
