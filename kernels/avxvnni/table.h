// The parts of this instruction set's table, one per source file.
#pragma once

namespace tern::kernels {
struct KernelTable;
namespace avxvnni {

void fill_matmul_256(KernelTable& table) noexcept;
void fill_matmul_32(KernelTable& table) noexcept;
void fill_matmul_iq(KernelTable& table) noexcept;

}  // namespace avxvnni
}  // namespace tern::kernels
