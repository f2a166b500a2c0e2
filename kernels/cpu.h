// CPU features as far as Tern uses them. A feature is reported only if the CPU has it and the operating system saves
// its registers (CPUID and XGETBV).
#pragma once

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

}  // namespace tern::kernels
