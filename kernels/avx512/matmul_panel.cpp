#include "kernels/avx512/matmul_panel.h"

namespace tern::kernels::avx512 {
namespace {

// A copy of the last rows of a call, filled up to a panel: nothing beyond the row's end is read.
struct TailRows {
    alignas(64) uint8_t bytes[kLanes * kMaxBlockBytes];
};

void pack_tail(const PanelFormat& format, const FormatOps& ops, const uint8_t* p, size_t stride, size_t rows,
               size_t blocks, Panel& out) {
    TailRows tail;
    const size_t bytes = blocks * format.block_bytes;
    memset(tail.bytes + rows * bytes, 0, (kLanes - rows) * bytes);
    for (size_t r = 0; r < rows; ++r) memcpy(tail.bytes + r * bytes, p + r * stride, bytes);
    format.pack(tail.bytes, bytes, blocks, ops, out);
}

TERN_INLINE void prefetch_lines(const uint8_t* p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p + i), _MM_HINT_T1);
}

}  // namespace

size_t panel_scratch_bytes(size_t tokens) {
    return sizeof(Panel) * kPanelVectors + min_size(tokens, kTokenBlock) * kPanelRows * sizeof(float);
}

void run_panels(const PanelFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    Panel* panels = static_cast<Panel*>(args.scratch);
    float* sums = reinterpret_cast<float*>(panels + kPanelVectors);
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const size_t total_blocks = args.k / format.block;
    const size_t per_super = kSuper / format.block;
    const size_t supers = (total_blocks + per_super - 1) / per_super;
    for (size_t t0 = 0; t0 < args.tokens; t0 += kTokenBlock) {
        const size_t tokens = min_size(args.tokens - t0, kTokenBlock);
        const ActBlock* act = static_cast<const ActBlock*>(args.act) + t0;
        for (size_t row = 0; row < args.rows;) {
            const size_t left = args.rows - row;
            // 33 to 47 rows still fill three panels better than three tiles of one.
            const size_t vectors = left > 2 * kLanes ? kPanelVectors : 1;
            const size_t rows = min_size(left, vectors * kLanes);
            const auto& tile = format.tiles->tile[vectors == 1 ? 0 : 1];
            memset(sums, 0, tokens * kPanelRows * sizeof(float));
            for (size_t s = 0; s < supers; ++s) {
                const size_t blocks = min_size(per_super, total_blocks - s * per_super);
                const size_t bytes = blocks * format.block_bytes;
                const uint8_t* p = w + row * args.w_row_bytes + s * per_super * format.block_bytes;
                for (size_t v = 0; v < vectors; ++v, p += kLanes * args.w_row_bytes) {
                    if (rows >= (v + 1) * kLanes)
                        format.pack(p, args.w_row_bytes, blocks, ops, panels[v]);
                    else
                        pack_tail(format, ops, p, args.w_row_bytes, rows - v * kLanes, blocks, panels[v]);
                }
                // Few tokens: the weights come from memory at full speed only if they are fetched in file order.
                if (tokens <= 32)
                    prefetch_lines(w + (row + rows) * args.w_row_bytes + s * per_super * format.block_bytes * rows,
                                   bytes * rows);
                const ActBlock* a = act + s * args.act_stride;
                size_t t = 0;
                for (; t + 4 <= tokens; t += 4)
                    tile[2](panels, a + t, sums + t * kPanelRows, format.bias, blocks);
                if (tokens - t >= 2) {
                    tile[1](panels, a + t, sums + t * kPanelRows, format.bias, blocks);
                    t += 2;
                }
                if (t < tokens) tile[0](panels, a + t, sums + t * kPanelRows, format.bias, blocks);
            }
            for (size_t t = 0; t < tokens; ++t) {
                float* out = args.out + (t0 + t) * args.out_stride + row;
                for (size_t v = 0; v * kLanes < rows; ++v)
                    _mm512_mask_storeu_ps(out + v * kLanes, mask_lanes(rows - v * kLanes),
                                          _mm512_load_ps(sums + t * kPanelRows + v * kLanes));
            }
            row += rows;
        }
    }
}

}  // namespace tern::kernels::avx512
