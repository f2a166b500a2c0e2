// OpenBLAS, loaded when it is first asked for.
//
// It is not linked, because it starts a thread per processor as soon as it is loaded: programs that use another backend
// must not pay for that, nor need the library at all. The dynamic linker finds it by its name, so the system's choice
// (update-alternatives, LD_LIBRARY_PATH), the OPENBLAS_* variables and a copy that the program has loaded before hold.
// Nothing of its state is set here, since all of it belongs to the whole process.
#pragma once

#include <cstddef>
#include <string>

namespace tern::backend::blas {

class OpenBlas {
public:
    // The process's only one. Error(unsupported) saying what would help.
    static const OpenBlas& load();

    // out[t * out_stride + r] = sum over i < k of w[r * k + i] * x[t * x_stride + i], plus what was there if `add`.
    // All sizes and strides at most kMost. Any number of threads.
    void multiply(const float* w, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride,
                  std::size_t tokens, float* out, std::size_t out_stride, bool add) const noexcept;
    static constexpr std::size_t kMost = 0x7fffffff;  // blasint

    // Threads of its own that compute one product; 1: a product is computed by its caller.
    unsigned threads() const noexcept;
    // "OpenBLAS 0.3.21 ... SkylakeX MAX_THREADS=64, 2 threads of its own"
    std::string describe() const;

private:
    OpenBlas();
    struct Functions;
    const Functions* functions_;
};

}  // namespace tern::backend::blas
