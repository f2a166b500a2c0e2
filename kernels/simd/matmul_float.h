// Matrix products with float weights. Lanes are the 16 stripes of k, so a tile of rows x tokens keeps one vector of
// partial sums per output; any order of tiles gives the same bits.
//
// Many tokens: a panel of kTileRows rows is widened to f32 once per kChunk elements and stays in L1 while a block of
// tokens, which stays in L2, passes by. F32 weights are copied, too: in place, rows of a power of two share the few places
// of L1 that they can have. Few tokens: straight from the weights, widened
// in registers, each weight read once.
#pragma once

#include "kernels/simd/elementary.h"

namespace tern::kernels {

struct WeightsF32 {
    using Element = float;
    TERN_INLINE Reg load_reg(const Element* p) { return reg_load(p); }
    TERN_INLINE Vec load_last(const Element* p, size_t n) { return load_part(p, n); }
};
struct WeightsF16 {
    using Element = uint16_t;
    TERN_INLINE Reg load_reg(const Element* p) { return reg_load_f16(p); }
    TERN_INLINE Vec load_last(const Element* p, size_t n) { return load_f16_part(p, n); }
};
struct WeightsBF16 {
    using Element = uint16_t;
    TERN_INLINE Reg load_reg(const Element* p) { return reg_load_bf16(p); }
    TERN_INLINE Vec load_last(const Element* p, size_t n) { return load_bf16_part(p, n); }
};

static constexpr size_t kChunk = 512;  // elements of k per pass over a panel
static constexpr size_t kTokenBlockBytes = 768 * 1024;
static constexpr size_t kMostTokens = 96;       // of a block; a multiple of kTileTokens
// Ahead in each of the rows that are read at once; the rows after them are fetched farther ahead, in file order.
static constexpr size_t kPrefetchBytes = 1024;

// Tokens that stay in L2 together.
TERN_INLINE size_t token_block(size_t k) {
    const size_t fit = kTokenBlockBytes / (k * sizeof(float)) / kTileTokens * kTileTokens;
    return fit > kMostTokens ? kMostTokens : fit < 4 * kTileTokens ? 4 * kTileTokens : fit;
}

struct TileArgs {
    const void* w;       // first row, at the chunk's first element
    size_t w_row_bytes;
    const float* x;      // first token, likewise
    size_t x_stride;
    size_t n;            // elements of the chunk
    float* partial;      // [row][token][16]
    bool first;          // start from zero, else from partial
};

// kPass registers' worth of the 16 stripes at a time: all where the registers hold them, else one after the other.
template <class Weights, size_t kRows, size_t kTokens, size_t kPass, bool kStream>
static inline __attribute__((always_inline)) void tile(const TileArgs& a) {
    using Element = typename Weights::Element;
    const Element* w[kRows];
#pragma GCC unroll 8
    for (size_t r = 0; r < kRows; ++r)
        w[r] = reinterpret_cast<const Element*>(static_cast<const char*>(a.w) + r * a.w_row_bytes);
    const size_t whole = a.n & ~size_t{15};
    for (size_t part = 0; part < kParts; part += kPass) {
        Reg acc[kRows][kTokens][kPass];
#pragma GCC unroll 8
        for (size_t r = 0; r < kRows; ++r)
#pragma GCC unroll 8
            for (size_t t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
                for (size_t p = 0; p < kPass; ++p)
                    acc[r][t][p] = a.first ? reg_zero()
                                           : reg_load(a.partial + (r * kTokens + t) * 16 + (part + p) * kLanes);
#pragma GCC unroll 1
        for (size_t k = 0; k < whole; k += 16) {
            if constexpr (kStream) {
                const char* next = static_cast<const char*>(a.w) + kRows * a.w_row_bytes + k * kRows * sizeof(Element);
#pragma GCC unroll 8
                for (size_t r = 0; r < kRows; ++r) {
                    prefetch(reinterpret_cast<const char*>(w[r] + k) + kPrefetchBytes);
                    if (r * 64 < 16 * kRows * sizeof(Element)) prefetch_far(next + r * 64);
                }
            }
#pragma GCC unroll 4
            for (size_t p = 0; p < kPass; ++p) {
                const size_t at = k + (part + p) * kLanes;
                Reg x[kTokens];
#pragma GCC unroll 8
                for (size_t t = 0; t < kTokens; ++t) x[t] = reg_load(a.x + t * a.x_stride + at);
#pragma GCC unroll 8
                for (size_t r = 0; r < kRows; ++r) {
                    if constexpr (kRows * kTokens * kPass >= 24) loads_stay_below();
                    const Reg v = Weights::load_reg(w[r] + at);
#pragma GCC unroll 8
                    for (size_t t = 0; t < kTokens; ++t) acc[r][t][p] = reg_fma(v, x[t], acc[r][t][p]);
                }
            }
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < kRows; ++r)
#pragma GCC unroll 8
            for (size_t t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
                for (size_t p = 0; p < kPass; ++p)
                    reg_store(a.partial + (r * kTokens + t) * 16 + (part + p) * kLanes, acc[r][t][p]);
    }
    if (const size_t rest = a.n - whole) {
        const Mask tail = mask_first(rest);
        for (size_t r = 0; r < kRows; ++r)
            for (size_t t = 0; t < kTokens; ++t) {
                float* sums = a.partial + (r * kTokens + t) * 16;
                const Vec x = load_part(a.x + t * a.x_stride + whole, rest);
                store(sums, fma_where(tail, Weights::load_last(w[r] + whole, rest), x, load(sums)));
            }
    }
}

template <size_t kRows, size_t kTokens>
static inline __attribute__((always_inline)) void finish(const float* partial, float* out, size_t out_stride) {
    for (size_t r = 0; r < kRows; ++r)
        for (size_t t = 0; t < kTokens; ++t) out[t * out_stride + r] = tree(load(partial + (r * kTokens + t) * 16));
}

template <class Weights, size_t kRows, size_t kTokens>
static __attribute__((noinline)) void panel_tile(const TileArgs& a) {
    // One part at a time leaves registers for a larger tile; a single row and token has no use for that.
    tile<Weights, kRows, kTokens, (kRows * kTokens * kParts > 12 && kParts > 1) ? 1 : kParts, false>(a);
}

// Rows [0, kRows) x all tokens.
template <class Weights, size_t kRows>
static void panel(const MatmulArgs& a, const void* w, float* out, float* partial, float* widened) {
    using Element = typename Weights::Element;
    const float* x = static_cast<const float*>(a.act);
    for (size_t k = 0; k < a.k; k += kChunk) {
        const size_t n = a.k - k < kChunk ? a.k - k : kChunk;
        const bool last = k + n == a.k;
        TileArgs tile_args{};
        tile_args.n = n;
        tile_args.x_stride = a.act_stride;
        tile_args.first = k == 0;
        for (size_t r = 0; r < kRows; ++r) {
            const auto* row = reinterpret_cast<const Element*>(static_cast<const char*>(w) + r * a.w_row_bytes) + k;
            float* wide = widened + r * kChunk;
            size_t i = 0;
            for (; i + kLanes <= n; i += kLanes) reg_store(wide + i, Weights::load_reg(row + i));
            if (i < n) store_part(wide + i, Weights::load_last(row + i, n - i), n - i);
        }
        tile_args.w = widened;
        tile_args.w_row_bytes = kChunk * sizeof(float);
        for (size_t t = 0; t < a.tokens;) {
            const size_t tokens = a.tokens - t < kTileTokens ? a.tokens - t : kTileTokens;
            tile_args.x = x + t * a.act_stride + k;
            tile_args.partial = partial + t * kRows * 16;
            float* to = out + t * a.out_stride;
            static_assert(kTileTokens == 3);
            if (tokens == 3) {
                panel_tile<WeightsF32, kRows, 3>(tile_args);
                if (last) finish<kRows, 3>(tile_args.partial, to, a.out_stride);
            } else if (tokens == 2) {
                panel_tile<WeightsF32, kRows, 2>(tile_args);
                if (last) finish<kRows, 2>(tile_args.partial, to, a.out_stride);
            } else {
                panel_tile<WeightsF32, kRows, 1>(tile_args);
                if (last) finish<kRows, 1>(tile_args.partial, to, a.out_stride);
            }
            t += tokens;
        }
    }
}

// Few tokens: each weight is read once, from memory.
template <class Weights, size_t kRows, size_t kTokens>
static void stream_rows(const MatmulArgs& a, size_t row_begin, size_t row_end) {
    alignas(64) float partial[kRows * kTokens * 16];
    TileArgs tile_args{};
    tile_args.w_row_bytes = a.w_row_bytes;
    tile_args.x = static_cast<const float*>(a.act);
    tile_args.x_stride = a.act_stride;
    tile_args.n = a.k;
    tile_args.partial = partial;
    tile_args.first = true;
    for (size_t r = row_begin; r < row_end; r += kRows) {
        tile_args.w = static_cast<const char*>(a.w) + r * a.w_row_bytes;
        tile<Weights, kRows, kTokens, kParts, true>(tile_args);
        finish<kRows, kTokens>(partial, a.out + r, a.out_stride);
    }
}

template <class Weights, size_t kTokens>
static void stream(const MatmulArgs& a) {
    constexpr size_t kRows = kTokens == 1 ? 4 : kTileRows / kParts;
    const size_t whole = a.rows - a.rows % kRows;
    stream_rows<Weights, kRows, kTokens>(a, 0, whole);
    stream_rows<Weights, 1, kTokens>(a, whole, a.rows);
}

template <class Weights>
static void matmul_float(const MatmulArgs& args) {
    if (args.tokens == 1) return stream<Weights, 1>(args);
    if (args.tokens == 2) return stream<Weights, 2>(args);
    if (args.tokens == 3) return stream<Weights, 3>(args);
    const size_t block = token_block(args.k);
    for (size_t t = 0; t < args.tokens; t += block) {
        MatmulArgs a = args;
        a.tokens = args.tokens - t < block ? args.tokens - t : block;
        a.act = static_cast<const float*>(args.act) + t * args.act_stride;
        a.out = args.out + t * args.out_stride;
        float* partial = static_cast<float*>(args.scratch);
        float* widened = partial + a.tokens * kTileRows * 16;
        const char* w = static_cast<const char*>(a.w);
        size_t r = 0;
        for (; r + kTileRows <= a.rows; r += kTileRows)
            panel<Weights, kTileRows>(a, w + r * a.w_row_bytes, a.out + r, partial, widened);
        for (; r < a.rows; ++r) panel<Weights, 1>(a, w + r * a.w_row_bytes, a.out + r, partial, widened);
    }
}

static size_t matmul_float_scratch(size_t k, size_t tokens) {
    if (tokens < 4) return 0;
    const size_t block = token_block(k);
    return ((tokens < block ? tokens : block) * 16 + kChunk) * kTileRows * sizeof(float);
}

}  // namespace tern::kernels
