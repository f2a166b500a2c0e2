#include "backend/blas/backend.h"

#include <algorithm>

#include "backend/blas/openblas.h"
#include "backend/cpu/backend.h"
#include "kernels/formats/format.h"

namespace tern::backend::blas {
namespace {

// Far fewer tokens are faster with Tern's kernels, which read the weights once and in their own format; far more are
// not, for F32. In between is a wide range where neither is (docs/performance.md).
constexpr std::size_t kFewestTokens = 32;
// Output rows of one call. Each call packs all activations anew: shorter ones are slower (docs/performance.md).
constexpr std::size_t kRows = 512;
// Columns that are decoded at a time: the block of kRows by kColumns stays in a second-level cache.
constexpr std::size_t kColumns = 512;

constexpr std::size_t ceil_div(std::size_t n, std::size_t by) { return (n + by - 1) / by; }

class BlasProduct final : public cpu::DenseProduct {
public:
    // The number of OpenBLAS's threads is asked once: the program may change it while workers share a product.
    explicit BlasProduct(const OpenBlas& blas) : blas_(blas), alone_(blas.threads() == 1) {}

    std::size_t piece_rows(const graph::Weight& weight, std::size_t tokens, unsigned workers) const noexcept override {
        if (tokens < kFewestTokens || std::max({tokens, std::size_t{weight.rows}, std::size_t{weight.cols}}) > OpenBlas::kMost)
            return 0;
        // OpenBLAS's own threads share a call, and calls take turns: the longer, the better.
        if (!alone_) return weight.dtype == DType::F32 ? weight.rows : kRows;
        return std::min(kRows, ceil_div(weight.rows, workers));
    }

    std::size_t scratch_bytes(const graph::Weight& weight) const noexcept override {
        return weight.dtype == DType::F32 ? 0 : kRows * kColumns * sizeof(float);
    }

    void multiply(const Args& args) const noexcept override {
        const graph::Weight& weight = args.weight;
        const std::size_t k = weight.cols;
        if (weight.dtype == DType::F32) {
            blas_.multiply(reinterpret_cast<const float*>(args.w), args.rows, k, args.x, k, args.tokens, args.out,
                           weight.rows, false);
            return;
        }
        const auto decode = kernels::format_ops(weight.dtype).decode;
        auto* const block = reinterpret_cast<float*>(args.scratch);
        for (std::size_t row = 0; row < args.rows; row += kRows) {
            const std::size_t rows = std::min(kRows, args.rows - row);
            for (std::size_t col = 0; col < k; col += kColumns) {
                const std::size_t cols = std::min(kColumns, k - col);
                const std::byte* const first = args.w + row * weight.row_bytes() + row_bytes(weight.dtype, col);
                for (std::size_t r = 0; r < rows; ++r) decode(first + r * weight.row_bytes(), block + r * cols, cols);
                blas_.multiply(block, rows, cols, args.x + col, k, args.tokens, args.out + row, weight.rows, col > 0);
            }
        }
    }

private:
    const OpenBlas& blas_;
    const bool alone_;
};

}  // namespace

std::unique_ptr<Backend> make_blas(const std::string& isa, unsigned threads) {
    const OpenBlas& blas = OpenBlas::load();
    return cpu::make_with(std::make_unique<BlasProduct>(blas), "blas", blas.describe(), isa, threads);
}

}  // namespace tern::backend::blas
