// How a format with kernels of its own takes part: few tokens stream through the rows, more of them share panels.
#pragma once

#include "kernels/avx2/matmul_panel.h"
#include "kernels/avx2/matmul_stream.h"

namespace tern::kernels {
namespace {

constexpr size_t kStreamTokens = 8;  // more are faster through panels

template <class Stream, PanelKind kKind, const RowFormat& kRow, const FormatOps& kOps>
void run_own(const MatmulArgs& args) {
    static_assert(Stream::kBlock == kRow.block && Stream::kBytes == kRow.block_bytes && kRow.block == kKind.block);
    if (args.tokens <= kStreamTokens)
        run_stream<Stream, kStreamTokens>(args);
    else
        run_panels<kKind>(kRow, kOps, args);
}
template <class Stream>
size_t own_scratch_bytes(size_t k, size_t tokens) {
    return tokens <= kStreamTokens ? stream_scratch_bytes<Stream>(k, tokens) : panel_scratch_bytes(tokens);
}

template <DType kDType, class Stream, PanelKind kKind, const RowFormat& kRow, const FormatOps& kOps>
void set_own(KernelTable& table) {
    table.matmul[static_cast<size_t>(kDType)] = {run_own<Stream, kKind, kRow, kOps>, own_scratch_bytes<Stream>,
                                                 kPanelRows};
}

}  // namespace
}  // namespace tern::kernels
