// Chooses one implementation per kernel and says which.
#pragma once

#include <optional>
#include <string_view>

#include "kernels/cpu.h"
#include "kernels/kernel.h"

namespace tern::kernels {

// Instruction sets that this build has and that this CPU and its operating system can run, slowest first; ref
// ("scalar") is always there.
struct IsaInfo {
    const char* name;  // "scalar", "avx2", "avx512", "neon"
    bool built;
    bool usable;
};
struct IsaList {
    IsaInfo items[8];
    std::size_t count;
};
IsaList isas(const CpuFeatures& cpu) noexcept;

// Every slot filled: the best usable implementation, none faster than `name` when a name is given (a set without an
// own version of a kernel takes the next slower one's). Empty when the name is unknown or not usable.
struct KernelSet {
    KernelTable table;                    // every pointer is set, except matmul slots of unknown formats
    const char* isa = "";                 // the fastest set in use
    const char* matmul_isa[kFormatSlots];  // which set each matrix product came from
};
std::optional<KernelSet> select(const CpuFeatures& cpu, std::string_view name = {}) noexcept;

}  // namespace tern::kernels
