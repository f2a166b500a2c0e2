// CPU features as far as Tern uses them. A feature is reported only if the CPU has it and the operating system saves
// its registers (CPUID and XGETBV).
#pragma once

#include <cstdint>

namespace tern::kernels {

struct CpuFeatures {
    bool avx2 = false;         // AVX2, FMA, F16C
    bool avx_vnni = false;     // VEX-encoded vpdpbusd
    bool avx512 = false;       // F, BW, DQ, VL and VNNI, with the OS saving ZMM and mask registers
    bool avx512_bf16 = false;
    bool amx_int8 = false;     // AMX tiles and int8, with the OS supporting XTILEDATA (permission is still needed)
    bool neon_dotprod = false;
    char name[64] = {};        // brand string
};

CpuFeatures detect_cpu() noexcept;

// What an x86-64 processor says of itself: CPUID leaf 1 ECX, leaf 7 EBX, ECX and EDX, leaf 7.1 EAX (0 where the
// processor lacks the leaf), and XCR0, which is read only where OSXSAVE (leaf 1 ECX bit 27) allows it, else 0.
struct X86Words {
    std::uint32_t leaf1_ecx = 0;
    std::uint32_t leaf7_ebx = 0;
    std::uint32_t leaf7_ecx = 0;
    std::uint32_t leaf7_edx = 0;
    std::uint32_t leaf7_1_eax = 0;
    std::uint64_t xcr0 = 0;
};
// The features that these words allow; the part of detect_cpu that decides. Leaves the name empty.
CpuFeatures features_of(const X86Words& words) noexcept;

}  // namespace tern::kernels
