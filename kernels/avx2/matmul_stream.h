// Products of few tokens, straight from the file's rows. Such a product is bound by memory, and memory is fastest when
// it is read strictly in file order, so the eight lanes of a step are eight consecutive blocks rather than eight rows:
// their headers are decoded together, their dot products reduced together. The chain of multiply-adds, whose order is
// fixed, follows per eight rows.
//
// A stream format is a struct of
//   kBlock, kBytes   elements and bytes of a block
//   kSums            dwords of sums of activations per block, see StreamInput
//   kStreamTokens    the most tokens: more are faster through panels
//   kMin32           a format of 32 elements with minimums
//   order(act, part, input, s)  writes the elements and sums of block `part` of an ActBlock as block s of the input
//   group<kTokens>(w, x, s, out)  eight blocks from `w` for kTokens tokens, whose blocks begin at s
#pragma once

#include "kernels/avx2/matmul_common.h"

namespace tern::kernels {
namespace {

constexpr size_t kGroupBlocks = 8;
constexpr size_t kPassTokens = 4;  // that one pass over a group takes
// Bytes ahead of the reads, into the second-level cache: nearer ones come late on fast memory, farther ones cost
// page walks.
constexpr size_t kPrefetchDistance = 8192;

// Activations of one token, prepared once per call. Every array holds `length` blocks: those of the row, and after its
// end the first ones again, because eight consecutive blocks may reach into the next row.
struct StreamInput {
    int8_t* q;      // elements in the order in which the format's vectors hold them
    int32_t* sums;  // [dword][length]: pairs of int16 sums of consecutive groups; formats of 32 elements: one, int32
    float* d;       // [length]
    size_t length;
};

// Results of eight blocks, lane = block: the sum (formats of 256: u of the definition), d * da and dmin * da.
struct StreamOutput {
    float* u;
    float* scale;
    float* offset;
};

constexpr size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Sizes of the parts of the scratch memory of one token.
template <class Format>
struct StreamLayout {
    size_t length, q, sums, d, column;
    explicit StreamLayout(size_t blocks)
        : length(round_up(blocks + kGroupBlocks, kGroupBlocks)),
          q(length * Format::kBlock),
          sums(length * Format::kSums * sizeof(int32_t)),
          d(length * sizeof(float)),
          column(round_up((kGroupBlocks * blocks + 2 * kGroupBlocks) * sizeof(float), 64)) {}
    size_t total() const { return round_up(q + sums + d, 64) + (Format::kBlock == 256 ? 1 : Format::kMin32 ? 3 : 2) * column; }
};

TERN_INLINE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }  // one instruction with -mfma

// acc = fma(...) over the blocks of eight rows, in order; the eight chains hide each other's latency.
template <class Format>
void chain(const StreamInput& x, const StreamOutput& o, size_t blocks, float acc[8]) {
    float a[8] = {};
    for (size_t i = 0; i < blocks; ++i) {
        if constexpr (Format::kBlock == 256) {
            TERN_UNROLL
            for (size_t r = 0; r < 8; ++r) a[r] = fused(x.d[i], o.u[r * blocks + i], a[r]);
        } else {
            TERN_UNROLL
            for (size_t r = 0; r < 8; ++r) a[r] = fused(o.scale[r * blocks + i], o.u[r * blocks + i], a[r]);
            if constexpr (Format::kMin32) {
                const float sum = -static_cast<float>(x.sums[i]);
                TERN_UNROLL
                for (size_t r = 0; r < 8; ++r) a[r] = fused(o.offset[r * blocks + i], sum, a[r]);
            }
        }
    }
    memcpy(acc, a, sizeof a);
}

template <class Format>
size_t stream_scratch_bytes(size_t k, size_t tokens) {
    return StreamLayout<Format>(k / Format::kBlock).total() * tokens;
}

// kTokens tokens; 0: any number up to kMostTokens, kPassTokens of them at a time, while eight blocks stay in the
// first-level cache.
template <class Format, int kTokens>
void run_stream(const MatmulArgs& args) {
    constexpr size_t kMostTokens = kTokens ? kTokens : Format::kStreamTokens;
    const size_t tokens = kTokens ? kTokens : args.tokens;
    constexpr size_t kBytes = Format::kBytes;
    const size_t blocks = args.k / Format::kBlock;
    const StreamLayout<Format> layout(blocks);
    StreamInput x[kMostTokens];
    StreamOutput out[kMostTokens];
    for (size_t t = 0; t < tokens; ++t) {
        uint8_t* p = static_cast<uint8_t*>(args.scratch) + t * layout.total();
        x[t] = {reinterpret_cast<int8_t*>(p), reinterpret_cast<int32_t*>(p + layout.q),
                reinterpret_cast<float*>(p + layout.q + layout.sums), layout.length};
        const ActBlock* act = static_cast<const ActBlock*>(args.act) + t;
        constexpr size_t kPerSuper = kSuper / Format::kBlock;
        for (size_t s = 0; s < layout.length; ++s) {
            const size_t from = s % blocks, part = from % kPerSuper;
            const ActBlock& a = act[from / kPerSuper * args.act_stride];
            x[t].d[s] = Format::kBlock == 256 ? a.k.d : a.b.d[part];
            Format::order(a, part, x[t], s);
        }
        p += round_up(layout.q + layout.sums + layout.d, 64);
        out[t] = {reinterpret_cast<float*>(p), reinterpret_cast<float*>(p + layout.column),
                  reinterpret_cast<float*>(p + 2 * layout.column)};
    }
    alignas(32) uint8_t copy[kGroupBlocks * kBytes];
    auto step = [&](const uint8_t* w, size_t n, size_t s, size_t column) {
        if (n < kGroupBlocks) {  // the end of the data: nothing beyond it is read
            memcpy(copy, w, n * kBytes);
            memset(copy + n * kBytes, 0, (kGroupBlocks - n) * kBytes);
            w = copy;
        }
        StreamOutput o[kMostTokens];
        for (size_t t = 0; t < tokens; ++t)
            o[t] = {out[t].u + column, out[t].scale + column, out[t].offset + column};
        if constexpr (kTokens != 0) {
            Format::template group<kTokens>(w, x, s, o);
        } else {
            for (size_t t = 0; t < tokens; t += kPassTokens) {
                switch (tokens - t) {
                case 1: Format::template group<1>(w, x + t, s, o + t); break;
                case 2: Format::template group<2>(w, x + t, s, o + t); break;
                case 3: Format::template group<3>(w, x + t, s, o + t); break;
                default: Format::template group<4>(w, x + t, s, o + t); break;
                }
            }
        }
    };
    const uint8_t* w = static_cast<const uint8_t*>(args.w);
    const bool contiguous = args.w_row_bytes == blocks * kBytes;
    const size_t advance = kGroupBlocks % blocks;
    for (size_t row = 0; row < args.rows; row += 8, w += 8 * args.w_row_bytes) {
        const size_t rows = min_size(8, args.rows - row);
        if (contiguous) {
            size_t s = 0;
            for (size_t b = 0; b < rows * blocks; b += kGroupBlocks) {
                step(w + b * kBytes, min_size(kGroupBlocks, rows * blocks - b), s, b);
                s += advance;
                if (s >= blocks) s -= blocks;
            }
        } else {
            // What a row's last step writes beyond the row's end, the next row overwrites.
            for (size_t r = 0; r < rows; ++r)
                for (size_t b = 0; b < blocks; b += kGroupBlocks)
                    step(w + r * args.w_row_bytes + b * kBytes, min_size(kGroupBlocks, blocks - b), b, r * blocks + b);
        }
        for (size_t t = 0; t < tokens; ++t) {
            float acc[8];
            chain<Format>(x[t], out[t], blocks, acc);
            memcpy(args.out + t * args.out_stride + row, acc, rows * sizeof(float));
        }
    }
}

// ---- for the groups --------------------------------------------------------------------------------------------------

TERN_INLINE void prefetch_line(const uint8_t* w, size_t i) {
    _mm_prefetch(reinterpret_cast<const char*>(w + kPrefetchDistance + 64 * i), _MM_HINT_T1);
}

// Lane i of the result is the sum of the lanes of v[i].
TERN_INLINE __m256i reduce8(const __m256i v[8]) {
    __m256i a[4];
    TERN_UNROLL
    for (int i = 0; i < 4; ++i)
        a[i] = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]),
                                _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
    const __m256i b = _mm256_add_epi32(_mm256_unpacklo_epi64(a[0], a[1]), _mm256_unpackhi_epi64(a[0], a[1]));
    const __m256i c = _mm256_add_epi32(_mm256_unpacklo_epi64(a[2], a[3]), _mm256_unpackhi_epi64(a[2], a[3]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(b, c, 0x20), _mm256_permute2x128_si256(b, c, 0x31));
}

// 16 bytes from each of eight places `stride` apart, transposed: dword lane r of out[g] holds bytes 4g..4g+3 of place r.
TERN_INLINE void load_transposed(const uint8_t* p, size_t stride, __m256i out[4]) {
    __m256i z[4];
    TERN_UNROLL
    for (size_t i = 0; i < 4; ++i)
        z[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p + i * stride)), load16(p + (4 + i) * stride), 1);
    const __m256i a = _mm256_unpacklo_epi32(z[0], z[1]), b = _mm256_unpackhi_epi32(z[0], z[1]);
    const __m256i c = _mm256_unpacklo_epi32(z[2], z[3]), d = _mm256_unpackhi_epi32(z[2], z[3]);
    out[0] = _mm256_unpacklo_epi64(a, c);
    out[1] = _mm256_unpackhi_epi64(a, c);
    out[2] = _mm256_unpacklo_epi64(b, d);
    out[3] = _mm256_unpackhi_epi64(b, d);
}

// 4 bytes from each of eight places. Through registers: a vector load right after narrow stores would wait for them all.
TERN_INLINE __m256i load_dwords(const uint8_t* p, size_t stride) {
    auto at = [&](size_t r) { return static_cast<int>(load_u32(p + r * stride)); };
    return _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
}

// One f16 from each of eight places.
TERN_INLINE __m256 load_halves(const uint8_t* p, size_t stride) {
    auto at = [&](size_t r) {
        short h;
        memcpy(&h, p + r * stride, 2);
        return h;
    };
    return _mm256_cvtph_ps(_mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}

// The low and the high halves of the dwords as f16.
TERN_INLINE void split_halves(__m256i v, __m256& low, __m256& high) {
    const __m256i packed = _mm256_permute4x64_epi64(
        _mm256_packus_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)), _mm256_srli_epi32(v, 16)), 0xd8);
    low = _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
    high = _mm256_cvtph_ps(_mm256_extracti128_si256(packed, 1));
}

TERN_INLINE __m256i or_and(__m256i a, __m256i b, __m256i c) { return _mm256_or_si256(a, _mm256_and_si256(b, c)); }
// Shuffle bytes n of each dword: the same 32-bit pattern of indices within each dword.
TERN_INLINE __m256i shuffle_dwords(__m256i v, uint32_t pattern, uint32_t step) {
    const __m256i lanes = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3), _mm256_set1_epi32(static_cast<int>(step)));
    return _mm256_shuffle_epi8(v, _mm256_or_si256(lanes, _mm256_set1_epi32(static_cast<int>(pattern))));
}
// Byte n of each dword, zero-extended to int16, twice.
TERN_INLINE __m256i byte_twice(__m256i v, int n) {
    const uint32_t i = static_cast<uint32_t>(n);
    return shuffle_dwords(v, 0x80008000u | i | i << 16, 0x00040004u);
}
// Bytes 2n and 2n + 1 of each dword, zero-extended to a pair of int16.
TERN_INLINE __m256i byte_pair(__m256i v, int n) {
    return shuffle_dwords(v, n ? 0x80038002u : 0x80018000u, 0x00040004u);
}
// The same, sign-extended.
TERN_INLINE __m256i signed_byte_pair(__m256i v, int n) {
    return _mm256_srai_epi16(shuffle_dwords(v, n ? 0x03800280u : 0x01800080u, 0x04000400u), 8);
}

// sum over pairs of groups of x * sums, lane = block.
template <int kCount>
TERN_INLINE __m256i dot_sums(const __m256i* pairs, const StreamInput& x, size_t s) {
    __m256i m = _mm256_setzero_si256();
    TERN_UNROLL
    for (size_t j = 0; j < kCount; ++j) m = add_pairs(m, pairs[j], load32(x.sums + j * x.length + s));
    return m;
}

}  // namespace
}  // namespace tern::kernels
