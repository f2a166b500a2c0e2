// The Vulkan loader, opened at run time, and the functions that are used of it.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <memory>
#include <string>

#include "backend/vulkan/cooperative_matrix.h"

namespace tern::backend::vulkan {

#define TERN_VK_INSTANCE(F)                                                                   \
    F(DestroyInstance)                                                                        \
    F(EnumeratePhysicalDevices) F(GetPhysicalDeviceProperties2) F(GetPhysicalDeviceFeatures2) \
        F(GetPhysicalDeviceMemoryProperties2) F(GetPhysicalDeviceQueueFamilyProperties)       \
            F(EnumerateDeviceExtensionProperties) F(CreateDevice) F(GetDeviceProcAddr)

#define TERN_VK_DEVICE(F)                                                                                  \
    F(DestroyDevice)                                                                                       \
    F(GetDeviceQueue) F(AllocateMemory) F(FreeMemory) F(MapMemory) F(UnmapMemory) F(CreateBuffer)          \
        F(DestroyBuffer) F(GetBufferMemoryRequirements) F(BindBufferMemory) F(CreateShaderModule)          \
            F(DestroyShaderModule) F(CreatePipelineCache) F(DestroyPipelineCache) F(GetPipelineCacheData)  \
                F(CreateComputePipelines) F(DestroyPipeline) F(CreatePipelineLayout)                       \
                    F(DestroyPipelineLayout) F(CreateDescriptorSetLayout) F(DestroyDescriptorSetLayout)    \
                        F(CreateDescriptorPool) F(DestroyDescriptorPool) F(AllocateDescriptorSets)         \
                            F(UpdateDescriptorSets) F(CreateCommandPool) F(DestroyCommandPool)             \
                                F(AllocateCommandBuffers) F(BeginCommandBuffer) F(EndCommandBuffer)        \
                                    F(ResetCommandBuffer) F(CmdBindPipeline) F(CmdBindDescriptorSets)      \
                                        F(CmdPushConstants) F(CmdDispatch) F(CmdDispatchIndirect)          \
                                            F(CmdPipelineBarrier) F(CmdCopyBuffer) F(CreateFence)          \
                                                F(DestroyFence) F(ResetFences) F(WaitForFences)            \
                                                    F(QueueSubmit) F(DeviceWaitIdle) F(FreeCommandBuffers) \
                                                        F(CreateQueryPool) F(DestroyQueryPool)             \
                                                            F(CmdResetQueryPool) F(CmdWriteTimestamp)      \
                                                                F(GetQueryPoolResults) F(CreateBufferView) \
                                                                    F(DestroyBufferView)

// An open loader with an instance. Shared by the devices made from it.
class Api {
public:
    // Null where this machine has no Vulkan loader or it gives no instance; `why` then says so.
    static std::shared_ptr<const Api> open(std::string& why);
    ~Api();
    Api(const Api&) = delete;
    Api& operator=(const Api&) = delete;

    VkInstance instance = VK_NULL_HANDLE;
    std::uint32_t version = 0;  // of the instance
#define TERN_VK_MEMBER(name) PFN_vk##name name = nullptr;
    TERN_VK_INSTANCE(TERN_VK_MEMBER)
#undef TERN_VK_MEMBER
    // Of an extension of devices: null where no driver has it.
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR GetPhysicalDeviceCooperativeMatrixPropertiesKHR =
        nullptr;

private:
    Api() = default;
    void* library_ = nullptr;
};

// The functions of one device.
struct DeviceApi {
#define TERN_VK_MEMBER(name) PFN_vk##name name = nullptr;
    TERN_VK_DEVICE(TERN_VK_MEMBER)
#undef TERN_VK_MEMBER
};

// "VK_ERROR_DEVICE_LOST"
const char* to_string(VkResult result) noexcept;

}  // namespace tern::backend::vulkan
