#include "kernels/avx512/matmul.h"

#include "kernels/avx512/matmul_pack.h"
#include "kernels/avx512/matmul_stream.h"

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

template <size_t kBlock>
size_t scratch_bytes(size_t k, size_t tokens) {
    const size_t stream = stream_scratch_bytes(kBlock, k, tokens), panel = panel_scratch_bytes(tokens);
    return stream > panel ? stream : panel;
}

template <const StreamFormat& kStream, const PanelFormat& kPanel, const FormatOps& kOps>
void run_own(const MatmulArgs& args) {
    if (args.tokens <= stream_tokens(kStream))
        run_stream(kStream, kOps, args);
    else
        run_panels(kPanel, kOps, args);
}
template <DType kDType, const StreamFormat& kStream, const PanelFormat& kPanel, const FormatOps& kOps>
void set_own(KernelTable& table) {
    table.matmul[static_cast<size_t>(kDType)] = {run_own<kStream, kPanel, kOps>, scratch_bytes<block_of(kDType)>,
                                                 kPanelRows};
}

}  // namespace

void fill_quantised(KernelTable& table) {
#define TERN_OWN(name) set_own<DType::name, kStream##name, kPanel##name, kFormatOps_##name>(table);
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
    TERN_OWN(IQ1_S)
    TERN_OWN(IQ1_M)
    TERN_OWN(IQ2_XXS)
    TERN_OWN(IQ2_XS)
    TERN_OWN(IQ2_S)
    TERN_OWN(IQ3_XXS)
    TERN_OWN(IQ3_S)
    TERN_OWN(TQ1_0)
    TERN_OWN(TQ2_0)
    TERN_OWN(Q8_K)
#undef TERN_OWN
}

}  // namespace tern::kernels::avx512
