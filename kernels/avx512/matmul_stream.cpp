#include "kernels/avx512/matmul_stream.h"

namespace tern::kernels::avx512 {
namespace {

constexpr size_t kPairs = 8;  // of sums, at most

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Sizes of the parts of the scratch memory of one token.
struct Layout {
    size_t length, q, sums, d, column;
    Layout(size_t block, size_t blocks)
        : length(round_up(blocks + kLanes, kLanes)),
          q(length * block),
          sums(length * (block == kSuper ? kPairs : 1) * sizeof(int32_t)),
          d(length * sizeof(float)),
          column(round_up((kLanes * blocks + 2 * kLanes) * sizeof(float), 64)) {}
    size_t total() const { return round_up(q + sums + d, 64) + 3 * column; }
};

void prepare(const StreamFormat& format, const ActBlock* act, size_t stride, size_t blocks, size_t length,
             int8_t* q, int32_t* sums, float* d) {
    const size_t per_super = kSuper / format.block;
    for (size_t s = 0; s < length; ++s) {
        const size_t from = s % blocks;
        const ActBlock& a = act[from / per_super * stride];
        const size_t part = from % per_super;
        format.order(a, part, q + s * format.block);
        if (format.block == kSuper) {
            d[s] = a.k.d;
            const int16_t* from_sums = format.groups == 16 ? a.k.sum16 : a.k.sum32;
            for (size_t j = 0; j < format.groups / 2; ++j) memcpy(sums + j * length + s, from_sums + 2 * j, 4);
        } else {
            d[s] = a.b.d[part];
            sums[s] = a.b.sum[part];
        }
    }
}

// acc = fma(...) over the blocks of 16 rows, in order.
__m512 chain(const StreamFormat& format, const StreamInput& x, const StreamOutput& o, size_t blocks) {
    __m512 acc = _mm512_setzero_ps();
    for (size_t s = 0; s < blocks; s += kLanes) {
        const size_t n = min_size(kLanes, blocks - s);
        alignas(64) float u[kLanes][kLanes], scale[kLanes][kLanes], offset[kLanes][kLanes];
        auto load = [&](const float* column, float(*to)[kLanes]) {
            __m512 v[kLanes];
            TERN_UNROLL
            for (size_t r = 0; r < kLanes; ++r) v[r] = _mm512_loadu_ps(column + r * blocks + s);
            transpose16(v);
            TERN_UNROLL
            for (size_t i = 0; i < kLanes; ++i) _mm512_store_ps(to[i], v[i]);
        };
        load(o.u, u);
        if (format.block == kSuper) {
            for (size_t i = 0; i < n; ++i)
                acc = _mm512_fmadd_ps(_mm512_set1_ps(x.d[s + i]), _mm512_load_ps(u[i]), acc);
            continue;
        }
        load(o.scale, scale);
        if (!format.min32) {
            for (size_t i = 0; i < n; ++i)
                acc = _mm512_fmadd_ps(_mm512_load_ps(scale[i]), _mm512_load_ps(u[i]), acc);
            continue;
        }
        load(o.offset, offset);
        for (size_t i = 0; i < n; ++i) {
            acc = _mm512_fmadd_ps(_mm512_load_ps(scale[i]), _mm512_load_ps(u[i]), acc);
            const __m512 sum = _mm512_set1_ps(static_cast<float>(x.sums[s + i]));
            acc = _mm512_fnmadd_ps(_mm512_load_ps(offset[i]), sum, acc);
        }
    }
    return acc;
}

}  // namespace

size_t stream_scratch_bytes(size_t block, size_t k, size_t tokens) {
    return Layout(block, k / block).total() * min_size(tokens, kStreamTokens);
}

void run_stream(const StreamFormat& format, const FormatOps& ops, const MatmulArgs& args) {
    const size_t blocks = args.k / format.block, tokens = args.tokens, bytes = format.block_bytes;
    const Layout layout(format.block, blocks);
    StreamInput x[kStreamTokens];
    StreamOutput out[kStreamTokens];
    for (size_t t = 0; t < tokens; ++t) {
        uint8_t* p = static_cast<uint8_t*>(args.scratch) + t * layout.total();
        int8_t* q = reinterpret_cast<int8_t*>(p);
        int32_t* sums = reinterpret_cast<int32_t*>(p + layout.q);
        float* d = reinterpret_cast<float*>(p + layout.q + layout.sums);
        prepare(format, static_cast<const ActBlock*>(args.act) + t, args.act_stride, blocks, layout.length, q, sums, d);
        x[t] = {q, sums, d, layout.length};
        p += round_up(layout.q + layout.sums + layout.d, 64);
        out[t] = {reinterpret_cast<float*>(p), reinterpret_cast<float*>(p + layout.column),
                  reinterpret_cast<float*>(p + 2 * layout.column)};
    }
    const auto group = format.group[tokens - 1];
    alignas(64) uint8_t copy[kLanes * kMaxBlockBytes];
    auto step = [&](const uint8_t* w, size_t n, size_t s, size_t column) {
        if (n < kLanes) {  // the end of the data: nothing beyond it is read
            memcpy(copy, w, n * bytes);
            memset(copy + n * bytes, 0, (kLanes - n) * bytes);
            w = copy;
        }
        StreamOutput o[kStreamTokens];
        for (size_t t = 0; t < tokens; ++t)
            o[t] = {out[t].u + column, out[t].scale + column, out[t].offset + column};
        group(w, x, s, format, ops, o);
    };
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const bool contiguous = args.w_row_bytes == blocks * bytes;
    const size_t advance = kLanes % blocks;
    for (size_t row = 0; row < args.rows; row += kLanes, w += kLanes * args.w_row_bytes) {
        const size_t rows = min_size(kLanes, args.rows - row);
        if (contiguous) {
            size_t s = 0;
            for (size_t b = 0; b < rows * blocks; b += kLanes) {
                step(w + b * bytes, min_size(kLanes, rows * blocks - b), s, b);
                s += advance;
                if (s >= blocks) s -= blocks;
            }
        } else {
            // What a row's last step writes beyond the row's end, the next row overwrites.
            for (size_t r = 0; r < rows; ++r)
                for (size_t b = 0; b < blocks; b += kLanes)
                    step(w + r * args.w_row_bytes + b * bytes, min_size(kLanes, blocks - b), b, r * blocks + b);
        }
        for (size_t t = 0; t < tokens; ++t)
            _mm512_mask_storeu_ps(args.out + t * args.out_stride + row, mask_lanes(rows),
                                  chain(format, x[t], out[t], blocks));
    }
}

}  // namespace tern::kernels::avx512
