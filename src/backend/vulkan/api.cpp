#include "backend/vulkan/api.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace tern::backend::vulkan {

std::shared_ptr<const Api> Api::open(std::string& why) {
    std::shared_ptr<Api> api(new Api);
    for (const char* name : {"libvulkan.so.1", "libvulkan.so"})
        if ((api->library_ = ::dlopen(name, RTLD_NOW | RTLD_LOCAL))) break;
    if (!api->library_) {
        const char* reason = ::dlerror();
        why = fmt::format(
            "there is no Vulkan loader here ({}); package libvulkan1 has it, and the graphics driver must "
            "support Vulkan",
            reason ? reason : "libvulkan.so.1 not found");
        return nullptr;
    }
    const auto get =
        reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(api->library_, "vkGetInstanceProcAddr"));
    const auto create =
        get ? reinterpret_cast<PFN_vkCreateInstance>(get(nullptr, "vkCreateInstance")) : nullptr;
    const auto version =
        get ? reinterpret_cast<PFN_vkEnumerateInstanceVersion>(get(nullptr, "vkEnumerateInstanceVersion"))
            : nullptr;
    if (!create || !version || version(&api->version) != VK_SUCCESS || api->version < VK_API_VERSION_1_2) {
        why = "the Vulkan loader here is older than Vulkan 1.2";
        return nullptr;
    }
    VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                  nullptr,
                                  "tern",
                                  1,
                                  "tern",
                                  1,
                                  std::min(api->version, static_cast<std::uint32_t>(VK_API_VERSION_1_3))};
    VkInstanceCreateInfo info{
        VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, nullptr, 0, &application, 0, nullptr, 0, nullptr};
    const VkResult result = create(&info, nullptr, &api->instance);
    if (result != VK_SUCCESS) {
        why = fmt::format("the Vulkan loader gives no instance ({}); is a driver installed?",
                          to_string(result));
        return nullptr;
    }
    bool whole = true;
#define TERN_VK_LOAD(name)                                                      \
    api->name = reinterpret_cast<PFN_vk##name>(get(api->instance, "vk" #name)); \
    whole &= api->name != nullptr;
    TERN_VK_INSTANCE(TERN_VK_LOAD)
#undef TERN_VK_LOAD
    if (!whole) {
        why = "the Vulkan loader here lacks functions of Vulkan 1.2";
        return nullptr;
    }
    api->GetPhysicalDeviceCooperativeMatrixPropertiesKHR =
        reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR>(
            get(api->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
    return api;
}

Api::~Api() {
    if (instance && DestroyInstance) DestroyInstance(instance, nullptr);
    // The library stays open: drivers run threads and exit handlers of their own that outlive the instance.
}

const char* to_string(VkResult result) noexcept {
    switch (result) {
        case VK_SUCCESS:
            return "VK_SUCCESS";
        case VK_NOT_READY:
            return "VK_NOT_READY";
        case VK_TIMEOUT:
            return "VK_TIMEOUT";
        case VK_INCOMPLETE:
            return "VK_INCOMPLETE";
        case VK_ERROR_OUT_OF_HOST_MEMORY:
            return "VK_ERROR_OUT_OF_HOST_MEMORY";
        case VK_ERROR_OUT_OF_DEVICE_MEMORY:
            return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
        case VK_ERROR_INITIALIZATION_FAILED:
            return "VK_ERROR_INITIALIZATION_FAILED";
        case VK_ERROR_DEVICE_LOST:
            return "VK_ERROR_DEVICE_LOST";
        case VK_ERROR_MEMORY_MAP_FAILED:
            return "VK_ERROR_MEMORY_MAP_FAILED";
        case VK_ERROR_LAYER_NOT_PRESENT:
            return "VK_ERROR_LAYER_NOT_PRESENT";
        case VK_ERROR_EXTENSION_NOT_PRESENT:
            return "VK_ERROR_EXTENSION_NOT_PRESENT";
        case VK_ERROR_FEATURE_NOT_PRESENT:
            return "VK_ERROR_FEATURE_NOT_PRESENT";
        case VK_ERROR_INCOMPATIBLE_DRIVER:
            return "VK_ERROR_INCOMPATIBLE_DRIVER";
        case VK_ERROR_TOO_MANY_OBJECTS:
            return "VK_ERROR_TOO_MANY_OBJECTS";
        case VK_ERROR_FRAGMENTED_POOL:
            return "VK_ERROR_FRAGMENTED_POOL";
        case VK_ERROR_OUT_OF_POOL_MEMORY:
            return "VK_ERROR_OUT_OF_POOL_MEMORY";
        case VK_ERROR_UNKNOWN:
            return "VK_ERROR_UNKNOWN";
        default:
            return "an unknown VkResult";
    }
}

}  // namespace tern::backend::vulkan
