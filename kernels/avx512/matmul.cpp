#include "kernels/avx512/matmul.h"

#include "kernels/avx512/matmul_pack.h"

namespace tern::kernels::avx512 {
namespace {

constexpr size_t block_of(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name: return block;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}
constexpr size_t bytes_of(DType dtype) {
    switch (dtype) {
#define TERN_FORMAT(name, id, block, bytes) \
    case DType::name: return bytes;
#include <tern/formats.def>
#undef TERN_FORMAT
    }
    return 0;
}

size_t scratch_bytes(size_t, size_t tokens) { return panel_scratch_bytes(tokens); }

template <const PanelFormat& kFormat, const FormatOps& kOps>
void run(const MatmulArgs& args) {
    run_panels(kFormat, kOps, args);
}
template <DType kDType, const FormatOps& kOps>
void run_general(const MatmulArgs& args) {
    run_panels(general_panel(bytes_of(kDType), kOps.has_min), kOps, args);
}

template <DType kDType, const FormatOps& kOps>
void set_general(KernelTable& table) {
    if constexpr (block_of(kDType) == kSuper)
        table.matmul[static_cast<size_t>(kDType)] = {run_general<kDType, kOps>, scratch_bytes, kPanelRows};
}
template <DType kDType, const PanelFormat& kFormat, const FormatOps& kOps>
void set_own(KernelTable& table) {
    table.matmul[static_cast<size_t>(kDType)] = {run<kFormat, kOps>, scratch_bytes, kPanelRows};
}

}  // namespace

void fill_quantised(KernelTable& table) {
#define TERN_FORMAT(name, id, block, bytes) set_general<DType::name, kFormatOps_##name>(table);
#include <tern/formats.def>
#undef TERN_FORMAT
#define TERN_OWN(name) set_own<DType::name, kPanel##name, kFormatOps_##name>(table);
    TERN_OWN(Q4_0)
    TERN_OWN(Q4_1)
    TERN_OWN(Q5_0)
    TERN_OWN(Q5_1)
    TERN_OWN(Q8_0)
    TERN_OWN(IQ4_NL)
    TERN_OWN(MXFP4)
    TERN_OWN(Q2_K)
    TERN_OWN(Q3_K)
    TERN_OWN(Q4_K)
    TERN_OWN(Q5_K)
    TERN_OWN(Q6_K)
    TERN_OWN(IQ4_XS)
#undef TERN_OWN
}

}  // namespace tern::kernels::avx512
