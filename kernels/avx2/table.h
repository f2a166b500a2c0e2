// The parts of this instruction set's table, one per source file.
#pragma once

namespace tern::kernels {
struct KernelTable;
namespace avx2 {

void fill_matmul_float(KernelTable& table) noexcept;
void fill_matmul_256(KernelTable& table) noexcept;
void fill_matmul_32(KernelTable& table) noexcept;
void fill_matmul_iq(KernelTable& table) noexcept;
void fill_quantize(KernelTable& table) noexcept;
void fill_norm(KernelTable& table) noexcept;
void fill_elementwise(KernelTable& table) noexcept;
void fill_attention(KernelTable& table) noexcept;

}  // namespace avx2
}  // namespace tern::kernels
