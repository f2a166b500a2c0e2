// The hook of a backend that computes large matrix products in its own way and leaves everything else to the CPU's
// kernels.
#pragma once

#include <cstddef>

#include "graph/graph.h"

namespace tern::backend::cpu {

// The numbers are the implementation's own: what docs/numerics.md promises ends here.
class DenseProduct {
public:
    // out[t * weight.rows + r] = sum over k of w[r][k] * x[t][k] for the `rows` rows from `w` on.
    struct Args {
        const graph::Weight& weight;
        const std::byte* w;
        std::size_t rows;
        const float* x;  // [tokens][weight.cols]
        std::size_t tokens;
        float* out;
        std::byte* scratch;  // 64-byte aligned, scratch_bytes(weight) bytes, exclusive to the call
    };
    virtual ~DenseProduct() = default;
    // Rows that one worker takes at a time when `workers` share a product of so many tokens; the same for every call
    // with these arguments. 0: the kernels do this product.
    virtual std::size_t piece_rows(const graph::Weight& weight, std::size_t tokens, unsigned workers) const noexcept = 0;
    virtual std::size_t scratch_bytes(const graph::Weight& weight) const noexcept = 0;
    // From several workers at the same time.
    virtual void multiply(const Args& args) const noexcept = 0;
};

}  // namespace tern::backend::cpu
