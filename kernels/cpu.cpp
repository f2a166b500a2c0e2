#include "kernels/cpu.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace tern::kernels {
namespace {

constexpr bool bit(std::uint64_t word, unsigned n) noexcept { return (word >> n & 1) != 0; }

}  // namespace

CpuFeatures features_of(const X86Words& w) noexcept {
    CpuFeatures f;
    // Leaf and bit numbers: Intel SDM volume 2A, CPUID; XCR0 bits: volume 1, 13.3.
    const std::uint64_t xcr0 = bit(w.leaf1_ecx, 27) ? w.xcr0 : 0;
    const bool os_avx = (xcr0 & 0x6) == 0x6;          // XMM, YMM
    const bool os_avx512 = (xcr0 & 0xe6) == 0xe6;     // and mask registers, ZMM0-15 upper halves, ZMM16-31
    const bool os_amx = (xcr0 & 0x60000) == 0x60000;  // XTILECFG, XTILEDATA

    const bool avx = os_avx && bit(w.leaf1_ecx, 28);
    f.avx2 = avx && bit(w.leaf7_ebx, 5) && bit(w.leaf1_ecx, 12) && bit(w.leaf1_ecx, 29);
    f.avx_vnni = f.avx2 && bit(w.leaf7_1_eax, 4);
    f.avx512 = f.avx2 && os_avx512 && bit(w.leaf7_ebx, 16) && bit(w.leaf7_ebx, 17) && bit(w.leaf7_ebx, 30) &&
               bit(w.leaf7_ebx, 31) && bit(w.leaf7_ecx, 11);
    f.avx512_bf16 = f.avx512 && bit(w.leaf7_1_eax, 5);
    f.amx_int8 = os_amx && bit(w.leaf7_edx, 24) && bit(w.leaf7_edx, 25);
    return f;
}

#if defined(__x86_64__)
namespace {

struct Leaf {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros where the CPU lacks the leaf.
Leaf cpuid(unsigned leaf, unsigned subleaf = 0) noexcept {
    Leaf r;
    if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
    return r;
}

// XCR0: the register states that the operating system saves. Only legal when CPUID says OSXSAVE.
std::uint64_t xgetbv0() noexcept {
    std::uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return std::uint64_t{high} << 32 | low;
}

}  // namespace

CpuFeatures detect_cpu() noexcept {
    const Leaf l1 = cpuid(1);
    const Leaf l7 = cpuid(7);
    const Leaf l7_1 = l7.eax >= 1 ? cpuid(7, 1) : Leaf{};
    CpuFeatures f = features_of({.leaf1_ecx = l1.ecx,
                                 .leaf7_ebx = l7.ebx,
                                 .leaf7_ecx = l7.ecx,
                                 .leaf7_edx = l7.edx,
                                 .leaf7_1_eax = l7_1.eax,
                                 .xcr0 = bit(l1.ecx, 27) ? xgetbv0() : 0});

    const Leaf extended = cpuid(0x80000000u);
    if (extended.eax >= 0x80000004u) {
        char brand[49] = {};
        for (unsigned i = 0; i < 3; ++i) {
            const Leaf part = cpuid(0x80000002u + i);
            std::memcpy(brand + i * 16, &part, sizeof part);
        }
        const char* start = brand;
        while (*start == ' ') ++start;
        std::strncpy(f.name, start, sizeof f.name - 1);
    }
    return f;
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect_cpu() noexcept {
    CpuFeatures f;
    f.neon_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    std::strncpy(f.name, "aarch64", sizeof f.name - 1);
    return f;
}

#else

CpuFeatures detect_cpu() noexcept { return {}; }

#endif

}  // namespace tern::kernels
