// How a format with kernels of its own takes part: few tokens stream through the rows, more of them share panels.
#pragma once

#include "kernels/avx2/matmul_panel.h"
#include "kernels/avx2/matmul_stream.h"

namespace tern::kernels {
namespace {

template <class Stream, PanelKind kKind, const RowFormat& kRow, const FormatOps& kOps>
void run_own(const MatmulArgs& args) {
    static_assert(Stream::kBlock == kRow.block && Stream::kBytes == kRow.block_bytes && kRow.block == kKind.block);
    switch (args.tokens) {
    case 1: return run_stream<Stream, 1>(args);
    case 2: return run_stream<Stream, 2>(args);
    case 3: return run_stream<Stream, 3>(args);
    default:
        if constexpr (Stream::kStreamTokens > 3)
            if (args.tokens <= Stream::kStreamTokens) return run_stream<Stream, 0>(args);
        run_panels<kKind>(kRow, kOps, args);
    }
}
template <class Stream>
size_t own_scratch_bytes(size_t k, size_t tokens) {
    return tokens <= Stream::kStreamTokens ? stream_scratch_bytes<Stream>(k, tokens) : panel_scratch_bytes(tokens);
}

template <DType kDType, class Stream, PanelKind kKind, const RowFormat& kRow, const FormatOps& kOps>
void set_own(KernelTable& table) {
    table.matmul[static_cast<size_t>(kDType)] = {run_own<Stream, kKind, kRow, kOps>, own_scratch_bytes<Stream>,
                                                 kPanelRows};
}

}  // namespace
}  // namespace tern::kernels
