// A Runtime owns what models share: threads, the choice of backend and kernels, the log sink. Nothing is global.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tern/export.h>

namespace tern {

inline constexpr std::uint64_t KiB = 1024;
inline constexpr std::uint64_t MiB = 1024 * KiB;
inline constexpr std::uint64_t GiB = 1024 * MiB;

enum class LogLevel { debug, info, warning, error };

struct RuntimeOptions {
    // Threads that compute, the calling thread included. 0: as many as this process may run on, at most one per
    // physical core.
    unsigned threads = 0;
    // "cpu" (fastest kernels), "vulkan" (a graphics device; the CPU's bits where its arithmetic is IEEE 754's, as
    // list_devices() says), "ref" (the reference kernels, for comparison) or "blas" ("cpu" with OpenBLAS for prompts,
    // where this build has it: within a tolerance of "cpu", not its bits; OpenBLAS starts threads of its own).
    std::string backend = "cpu";
    // Which graphics device backend "vulkan" takes: a part of its name, or its number among list_devices(). Empty: of the
    // graphics processors the one with the most memory of its own; only where there is none a software device, with a
    // warning. Several, separated by commas, share the layers of a model in proportion to their memory, in this order; a
    // comma between parentheses belongs to the name. Error(invalid_argument) for one named twice, or with another backend.
    std::string device{};
    // How many layers of a model the devices hold: its last ones and the output; the CPU computes those before them, and
    // looks tokens up where there are no more layers than this. A greater number: everything is on the devices. 0:
    // nothing. Unset: as many as fit beside the KV cache and intermediate results. Where no context was asked for, it gets
    // shorter, but not below 8,192 positions, before layers stay on the CPU.
    std::optional<std::uint32_t> gpu_layers{};
    // Products of many tokens in half precision, where a device of backend "vulkan" has it: meant for speed on graphics
    // processors. Results are then not the CPU's bits: they differ by an NMSE of up to 1e-3. Where a device has no fp16 a
    // warning says so and nothing changes. Error(invalid_argument) with another backend.
    bool half_products = false;
    // Where compiled shaders are kept from one process to the next; made if absent. Empty: nowhere.
    std::string cache_folder{};
    // Force an instruction set: "scalar", "avx2", "avxvnni", "avx512", "neon". Empty: the best this CPU has. The results
    // are the same bits. Of backend "vulkan": a way of multiplying, see docs/vulkan.md.
    std::string isa{};
    // Bytes that the models and engines of this runtime may take together: weights (mapped ones, too), KV caches and
    // intermediate results. What does not fit is refused before it is taken. 0: no limit of its own.
    std::uint64_t memory_budget = 0;
    // Receives the library's log lines, from any thread, one call at a time. Without one they are dropped.
    std::function<void(LogLevel, std::string_view)> log{};
};

// A device on which a Runtime can compute.
struct DeviceInfo {
    std::string backend;      // "cpu", "vulkan"
    std::string name;
    std::string kind;         // "cpu", "discrete", "integrated", "virtual", "software", "other"
    std::string driver;
    std::uint64_t memory = 0; // bytes of its own; for the CPU what is available now
    std::uint64_t budget = 0;  // of these what the driver leaves to this process now; 0: it does not say
    std::vector<std::string> enabled;   // what its kernels use
    std::vector<std::string> disabled;  // what they do not, and why: "integer dot product: not accelerated"
    std::string unusable;     // why nothing can run on it; empty: it can
    bool chosen = false;      // what the backend takes where no device is named
};
// The CPU first, then the graphics devices in the order of their numbers (RuntimeOptions::device). Without a Vulkan loader
// or device there is one entry of backend "vulkan" whose `unusable` says what is missing. Opens the loader and closes it.
TERN_API std::vector<DeviceInfo> list_devices();

// What a graphics device can do at most. 0: not supported.
struct DeviceRates {
    double copy_gb = 0;    // 1e9 bytes a second, read and written ones counted
    double f32_gops = 0;   // 1e9 operations a second in registers, a multiply-add counts 2
    double f16_gops = 0;
    double int8_gops = 0;  // dot products of four
    double matrix_gops = 0;  // cooperative matrices, f16 into f32
};

// A handle; copies share the same runtime, which ends with its last handle (models and engines hold one).
// Thread safe. Error(invalid_argument) for unknown names, Error(unsupported) for an instruction set this CPU lacks.
class TERN_API Runtime {
public:
    explicit Runtime(RuntimeOptions options = {});

    unsigned threads() const noexcept;
    std::string backend() const;  // "cpu"
    std::string isa() const;      // the instruction set in use: "avx512"
    // What else computes for the backend: version, processor and threads of OpenBLAS. Empty: nothing else.
    std::string backend_info() const;
    std::string cpu_name() const;
    // Measures the device of backend "vulkan", which takes some tenths of a second; empty for the others.
    std::optional<DeviceRates> device_rates() const;

    struct Impl;
    const std::shared_ptr<Impl>& impl() const noexcept { return impl_; }

private:
    std::shared_ptr<Impl> impl_;
};

}  // namespace tern
