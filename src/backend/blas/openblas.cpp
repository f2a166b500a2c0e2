#include "backend/blas/openblas.h"

#include <fmt/format.h>
#include <tern/error.h>

#if TERN_HAVE_OPENBLAS
#include <cblas.h>
#include <dlfcn.h>

#include <semaphore>
#endif

namespace tern::backend::blas {

#if TERN_HAVE_OPENBLAS

namespace {

// The interface with 32-bit integers, which the header declares.
constexpr const char* kLibrary = "libopenblas.so.0";
static_assert(sizeof(blasint) == 4);

// Every call holds one of OpenBLAS's buffers, of which a build has 50 at least (NUM_BUFFERS in its common.h); when they
// run out it ends the process. Further callers wait.
constexpr std::ptrdiff_t kCallers = 48;

template <class Function>
Function* find(void* library, const char* name) {
    void* const symbol = dlsym(library, name);
    if (!symbol)
        throw Error(ErrorCode::unsupported, fmt::format("backend 'blas': {} has no {}; OpenBLAS 0.3 has it, backend "
                                                        "'cpu' needs no library", kLibrary, name));
    return reinterpret_cast<Function*>(symbol);
}

}  // namespace

struct OpenBlas::Functions {
    decltype(cblas_sgemm)* sgemm;
    decltype(openblas_get_config)* config;
    decltype(openblas_get_num_threads)* threads;
    mutable std::counting_semaphore<kCallers> callers{kCallers};

    explicit Functions(void* library)
        : sgemm(find<decltype(cblas_sgemm)>(library, "cblas_sgemm")),
          config(find<decltype(openblas_get_config)>(library, "openblas_get_config")),
          threads(find<decltype(openblas_get_num_threads)>(library, "openblas_get_num_threads")) {}
};

OpenBlas::OpenBlas() {
    // Never closed: its threads run its code until the process ends.
    void* const library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char* const why = dlerror();
        throw Error(ErrorCode::unsupported,
                    fmt::format("backend 'blas' cannot load OpenBLAS ({}); install it (Debian: libopenblas0) or use "
                                "backend 'cpu'", why ? why : kLibrary));
    }
    static const Functions functions(library);
    functions_ = &functions;
}

const OpenBlas& OpenBlas::load() {
    static const OpenBlas blas;
    return blas;
}

void OpenBlas::multiply(const float* w, std::size_t rows, std::size_t k, const float* x, std::size_t x_stride,
                        std::size_t tokens, float* out, std::size_t out_stride, bool add) const noexcept {
    const auto n = [](std::size_t size) { return static_cast<blasint>(size); };
    functions_->callers.acquire();
    functions_->sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n(tokens), n(rows), n(k), 1.0f, x, n(x_stride), w, n(k),
                      add ? 1.0f : 0.0f, out, n(out_stride));
    functions_->callers.release();
}

unsigned OpenBlas::threads() const noexcept {
    const int threads = functions_->threads();
    return threads < 1 ? 1 : static_cast<unsigned>(threads);
}

std::string OpenBlas::describe() const {
    return fmt::format("{}, {} thread{} of its own", functions_->config(), threads(), threads() == 1 ? "" : "s");
}

#else

const OpenBlas& OpenBlas::load() {
    throw Error(ErrorCode::unsupported,
                "backend 'blas' is not in this build of Tern, which was made without OpenBLAS; install its header "
                "(Debian: libopenblas-dev) and build with -DTERN_BLAS=ON, or use backend 'cpu'");
}

void OpenBlas::multiply(const float*, std::size_t, std::size_t, const float*, std::size_t, std::size_t, float*,
                        std::size_t, bool) const noexcept {}
unsigned OpenBlas::threads() const noexcept { return 1; }
std::string OpenBlas::describe() const { return {}; }

#endif

}  // namespace tern::backend::blas
