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

TERN_INLINE void fetch_lines(const void* p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(static_cast<const char*>(p) + i, _MM_HINT_T0);
}

// Fetches the weights that are packed next while the present ones are multiplied: a few lines before each tile, because
// a burst would fill the queue of the first-level cache and stop the multiplications.
class NextWeights {
public:
    NextWeights(const uint8_t* p, size_t stride, size_t rows, size_t bytes, size_t tiles)
        : p_(p), stride_(stride), rows_(rows), bytes_(bytes), share_((rows * lines(bytes) + tiles - 1) / tiles) {}
    void fetch() {
        for (size_t i = 0; i < share_ && row_ < rows_; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(p_ + row_ * stride_ + offset_), _MM_HINT_T1);
            offset_ += 64;
            if (offset_ >= bytes_ + 63) {
                offset_ = 0;
                ++row_;
            }
        }
    }

private:
    // Of a piece at any offset within its first line.
    static size_t lines(size_t bytes) { return (bytes + 126) / 64; }
    const uint8_t* p_;
    size_t stride_, rows_, bytes_, share_, row_ = 0, offset_ = 0;
};

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
            // Rows that do not fill the panels are cheaper than tiles of fewer panels.
            const size_t size = left > 3 * kLanes ? 2 : left > kLanes ? 1 : 0;
            const size_t rows = min_size(left, kLanes << size);
            const auto& tile = format.tiles->tile[size];
            for (size_t s = 0; s < supers; ++s) {
                const size_t blocks = min_size(per_super, total_blocks - s * per_super);
                const size_t bytes = blocks * format.block_bytes;
                const uint8_t* first = w + row * args.w_row_bytes;
                const uint8_t* p = first + s * per_super * format.block_bytes;
                const size_t panels_used = (rows + kLanes - 1) / kLanes, tiles = (tokens + 3) / 4;
                // After the row's end come the next rows' beginnings. For few tokens, whose weights come from memory at
                // full speed only in file order, it is all of the next rows, and packing takes part.
                NextWeights next = tokens <= kStreamedTokens
                    ? NextWeights(first + rows * args.w_row_bytes + s * per_super * format.block_bytes * rows, 0, 1,
                                  bytes * rows, panels_used + tiles)
                    : NextWeights(s + 1 < supers ? p + bytes : first + rows * args.w_row_bytes, args.w_row_bytes, rows,
                                  bytes, tiles);
                for (size_t v = 0; v < panels_used; ++v) {
                    if (tokens <= kStreamedTokens) next.fetch();
                    const uint8_t* q = p + v * kLanes * args.w_row_bytes;
                    if (rows >= (v + 1) * kLanes)
                        format.pack(q, args.w_row_bytes, blocks, ops, panels[v]);
                    else
                        pack_tail(format, ops, q, args.w_row_bytes, rows - v * kLanes, blocks, panels[v]);
                }
                const ActBlock* a = act + s * args.act_stride;
                for (size_t t = 0; t < tokens;) {
                    const size_t step = tokens - t >= 4 ? 2 : tokens - t >= 2 ? 1 : 0, count = size_t{1} << step;
                    float* c = sums + t * kPanelRows;
                    next.fetch();
                    if (s == 0) memset(c, 0, count * kPanelRows * sizeof(float));
                    if (s + 1 == supers)  // the results' lines, which lie far apart
                        for (size_t i = t; i < t + count; ++i)
                            fetch_lines(args.out + (t0 + i) * args.out_stride + row, rows * sizeof(float));
                    tile[step](panels, a + t, c, format.bias, blocks);
                    t += count;
                }
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
