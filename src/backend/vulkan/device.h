// One Vulkan device: its choice, its memory, its pipelines and its queue. Thread safe.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tern/error.h>

#include "backend/vulkan/api.h"
#include "backend/vulkan/arithmetic.h"

namespace tern::backend::vulkan {

// Of a multiplication of cooperative matrices: M×K times K×N.
struct MatrixShape {
    std::uint32_t m = 0, n = 0, k = 0;
    explicit operator bool() const noexcept { return m != 0; }
    bool operator==(const MatrixShape&) const = default;
};

// What a physical device is and can do.
struct DeviceInfo {
    std::string name;
    std::uint32_t number = 0;  // in the loader's order; of an open device
    std::string kind;          // "discrete", "integrated", "virtual", "cpu", "other"
    std::string driver;
    std::uint32_t api_version = 0;
    std::uint64_t memory = 0;          // bytes of the largest device-local heap
    // Of these what the driver leaves to this process, when it was asked; none: it does not say
    // (VK_EXT_memory_budget).
    std::optional<std::uint64_t> budget;
    std::uint64_t max_allocation = 0;  // bytes of one allocation
    std::uint64_t max_binding = 0;     // bytes that a shader sees of one buffer
    std::uint64_t max_texels = 0;      // of a texel buffer
    std::uint32_t subgroup = 0;        // lanes
    std::uint32_t shared_bytes = 0;    // memory of a workgroup
    std::uint32_t max_invocations = 0;
    std::uint32_t binding_alignment = 0;
    bool software = false;
    bool fp16 = false;  // arithmetic in shaders
    bool fp64 = false;
    bool integer_dot_supported = false;
    bool integer_dot = false;  // accelerated
    bool subgroup_size_control = false;
    MatrixShape matrix;       // of a subgroup, f16 × f16 into f32; none: not supported
    double timestamp_ns = 0;  // of one tick; 0: no timestamps
    Arithmetic arithmetic;    // of an open device
    std::string unusable;     // why Tern cannot run on it; empty: it can
};

// All devices of this machine, in the loader's order; none, and `why`, where there is no Vulkan.
std::vector<DeviceInfo> list_devices(std::string& why);
// The number of the device that the rule chooses; as many as there are: none.
std::size_t choose_device(const std::vector<DeviceInfo>& devices) noexcept;
// The shape that Tern takes of those a driver offers: the largest that multiplies f16 into f32 in a subgroup
// and whose sizes are powers of two from 8 to 32; the first of equals.
MatrixShape choose_matrix(std::span<const VkCooperativeMatrixPropertiesKHR> offered) noexcept;

class Device;

// A part of a buffer, as a shader sees it.
struct Range {
    VkBuffer buffer = VK_NULL_HANDLE;
    std::uint64_t offset = 0, size = 0;
};

// A range of device memory. Gives it back when it ends.
class Buffer {
public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept { *this = std::move(other); }
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer() { reset(); }
    void reset() noexcept;

    VkBuffer handle() const noexcept { return buffer_; }
    Range range() const noexcept { return range(0, size_); }
    Range range(std::uint64_t offset, std::uint64_t size) const noexcept;
    std::uint64_t size() const noexcept { return size_; }
    // Host address of memory that was asked for with Memory::host; else null.
    std::byte* host() const noexcept { return host_; }
    explicit operator bool() const noexcept { return buffer_ != VK_NULL_HANDLE; }

private:
    friend class Device;
    Device* device_ = nullptr;
    VkBuffer buffer_ = VK_NULL_HANDLE;
    std::size_t block_ = 0;
    std::uint64_t offset_ = 0, size_ = 0, reserved_ = 0;
    std::byte* host_ = nullptr;
};

enum class Memory { device, host };  // host: mapped, coherent

inline constexpr std::uint32_t kMaxBindings = 8;
inline constexpr std::uint32_t kPushBytes = 128;  // what every device has

struct DeviceOptions {
    std::string name;          // a part of its name, or its number in the list; empty: the rule
    std::string cache_folder;  // for compiled pipelines; empty: none
    std::function<void(bool warning, const std::string&)> log;
};

class Device {
public:
    // The rule: of the devices that are no software, the one with the largest device-local heap; a software
    // device only when it is named or there is no other. Error(not_found) where none is left, naming those
    // that there are; Error(unsupported) for a device that lacks what Tern needs.
    static std::shared_ptr<Device> open(const DeviceOptions& options);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const DeviceInfo& info() const noexcept { return info_; }
    const DeviceApi& api() const noexcept { return api_; }
    // Held while a program's buffers are in use: programs of one device take turns.
    std::recursive_mutex& mutex() noexcept { return mutex_; }
    VkDevice handle() const noexcept { return device_; }

    // `what` names its use in the message of Error(out_of_memory).
    Buffer allocate(std::uint64_t bytes, Memory memory, const std::string& what);
    std::uint64_t allocated() const noexcept { return allocated_; }
    // DeviceInfo::budget now: allocated() is part of it, what others in this process have taken is not.
    std::optional<std::uint64_t> budget();

    // A compute pipeline: `bindings` storage buffers, those whose bit is set in `texels` uniform texel
    // buffers, kPushBytes of push constants, 32-bit specialisation constants 0 … (and those of
    // shaders/exact.glsl). Lives as long as the device. Error(device) where the driver refuses the shader.
    struct Pipeline {
        VkPipeline pipeline = VK_NULL_HANDLE;
        VkPipelineLayout layout = VK_NULL_HANDLE;
        VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
        std::uint32_t bindings = 0;
    };
    const Pipeline& pipeline(const std::string& shader, std::uint32_t bindings, std::uint32_t texels,
                             std::span<const std::uint32_t> constants);
    // Writes the compiled pipelines to the cache folder, if there are new ones.
    void save_cache() noexcept;

    // Records, submits and waits.
    void run_once(const std::function<void(VkCommandBuffer)>& record);
    void submit_and_wait(VkCommandBuffer commands);
    // Runs a shader of storage buffers once, over `groups` workgroups, with one word of push constants.
    void dispatch(const Pipeline& pipeline, std::initializer_list<Range> buffers, std::uint32_t push,
                  std::uint32_t groups);
    // Copies from host memory, by pieces through one staging buffer.
    void upload(const Buffer& to, std::uint64_t offset, std::span<const std::byte> from);
    // The same; `fill` writes each piece of the target, [begin, begin + piece.size()), a multiple of `grain`
    // bytes but for the last one.
    void upload(const Buffer& to, std::uint64_t offset, std::uint64_t bytes, std::uint64_t grain,
                const std::function<void(std::uint64_t begin, std::span<std::byte> piece)>& fill);
    void download(const Buffer& from, std::uint64_t offset, std::span<std::byte> to);
    // Gives back the host memory that they keep for their next use.
    void release_staging() noexcept;

    VkCommandPool command_pool() const noexcept { return command_pool_; }
    void log(bool warning, const std::string& text) const {
        if (options_.log) options_.log(warning, text);
    }
    // For tests: the next submissions fail with this result.
    void inject(VkResult result) noexcept { injected_ = result; }
    // For tests: no shader is compiled any more.
    void refuse_shaders(bool refuse) noexcept { refuse_shaders_ = refuse; }
    // For tests: allocations beyond this many bytes fail.
    void limit_memory(std::uint64_t bytes) noexcept { memory_limit_ = bytes; }
    // For tests: shaders see no more of one buffer than this.
    void limit_binding(std::uint64_t bytes) noexcept { info_.max_binding = bytes; }
    // For tests: as DeviceInfo::max_allocation.
    void limit_allocation(std::uint64_t bytes) noexcept { info_.max_allocation = bytes; }
    // For tests: as if the driver said this of the heap: what the process may use, and what it does use
    // beside this device.
    void pretend_budget(std::uint64_t bytes, std::uint64_t others) noexcept {
        pretended_ = {{bytes, others}};
    }
    // For tests: programs made from now on do what a graphics processor would.
    void pretend_hardware() noexcept { info_.software = false; }
    // Never used twice on a device.
    std::uint64_t new_serial() noexcept { return ++serial_; }

private:
    friend class Buffer;
    struct Block;
    Device() = default;
    void check(VkResult result, const char* what) const;
    void give_back(Buffer& buffer) noexcept;
    std::uint32_t memory_type(std::uint32_t allowed, VkMemoryPropertyFlags flags) const;
    void load_cache();
    std::string cache_file() const;

    std::recursive_mutex mutex_;
    std::shared_ptr<const Api> instance_;
    DeviceApi api_;
    DeviceOptions options_;
    DeviceInfo info_;
    VkPhysicalDevice physical_ = VK_NULL_HANDLE;
    VkDevice device_ = VK_NULL_HANDLE;
    VkQueue queue_ = VK_NULL_HANDLE;
    std::uint32_t queue_family_ = 0;
    VkPhysicalDeviceMemoryProperties memory_{};
    std::vector<std::unique_ptr<Block>> blocks_;
    std::uint64_t allocated_ = 0, memory_limit_ = ~std::uint64_t{0};
    VkCommandPool command_pool_ = VK_NULL_HANDLE;
    VkFence fence_ = VK_NULL_HANDLE;
    VkPipelineCache cache_ = VK_NULL_HANDLE;
    bool cache_changed_ = false;
    // By number of bindings and texels.
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<VkDescriptorSetLayout, VkPipelineLayout>>
        layouts_;
    std::map<std::string, Pipeline> pipelines_;
    Buffer staging_;
    VkResult injected_ = VK_SUCCESS;
    bool refuse_shaders_ = false;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> pretended_;  // budget, usage of others
    std::uint64_t serial_ = 0;
};

}  // namespace tern::backend::vulkan
