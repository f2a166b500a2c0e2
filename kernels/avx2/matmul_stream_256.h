// Stream formats of 256 elements; kernels/formats/<format>.h describes the blocks.
#pragma once

#include "kernels/avx2/matmul_rows.h"
#include "kernels/avx2/matmul_stream.h"

namespace tern::kernels {
namespace {

// The sums of eight blocks for each token, one vector a block until they are reduced together.
template <int kTokens>
struct Sums {
    __m256i v[kTokens][kGroupBlocks];
};

// The elements in their own order, and pairs of sums over 256 / kGroups elements.
template <int kGroups>
TERN_INLINE void order_natural(const ActBlock& act, const StreamInput& x, size_t s) {
    memcpy(x.q + s * kSuper, act.q, kSuper);
    const int16_t* sums = kGroups == 16 ? act.k.sum16 : act.k.sum32;
    for (size_t j = 0; j < kGroups / 2; ++j) memcpy(x.sums + j * x.length + s, sums + 2 * j, 4);
}

template <size_t kBytes>
TERN_INLINE void prefetch_block(const uint8_t* w) {
    TERN_UNROLL
    for (size_t i = 0; i < (kBytes + 48) / 64; ++i) prefetch_line(w, i);
}

TERN_INLINE void store_plain(float* u, __m256 d, __m256i sum) {
    _mm256_storeu_ps(u, _mm256_mul_ps(d, _mm256_cvtepi32_ps(sum)));
}
TERN_INLINE void store_with_min(float* u, __m256 d, __m256 dmin, __m256i sum, __m256i m) {
    const __m256 offset = _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(m));
    _mm256_storeu_ps(u, _mm256_fmsub_ps(d, _mm256_cvtepi32_ps(sum), offset));
}

// sum of q * a * scale over eight vectors of unsigned bytes below 128.
template <int kTokens, class Scale>
TERN_INLINE void multiply(const __m256i q[8], Scale scale, const StreamInput* x, size_t block, size_t i,
                          Sums<kTokens>& sums) {
    constexpr int kChains = kTokens < 3 ? 2 : 1;  // the tokens hide the latency, or two sums each
    __m256i sum[kTokens][kChains];
    TERN_UNROLL
    for (int v = 0; v < 8; ++v) {
        const __m256i s = scale(v);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m256i p = _mm256_maddubs_epi16(q[v], load32(x[t].q + block * kSuper + 32 * v));
            __m256i& to = sum[t][v % kChains];
            to = v < kChains ? _mm256_madd_epi16(p, s) : add_pairs(to, p, s);
        }
    }
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        sums.v[t][i] = kChains == 2 ? _mm256_add_epi32(sum[t][0], sum[t][kChains - 1]) : sum[t][0];
}

// A pair of int16 scales: the first for the lower 128 bits, the second for the upper.
TERN_INLINE __m256i spread_pair(const int32_t* pair) {
    const __m256i index = _mm256_setr_epi32(0x01000100, 0x01000100, 0x01000100, 0x01000100, 0x03020302, 0x03020302,
                                            0x03020302, 0x03020302);
    return _mm256_shuffle_epi8(_mm256_set1_epi32(*pair), index);
}

// ---- Q4_K and Q5_K ---------------------------------------------------------------------------------------------------
template <bool kFive>
struct StreamQ45K {
    static constexpr size_t kBlock = 256, kBytes = kFive ? 176 : 144, kSums = 4;
    static constexpr size_t kStreamTokens = 6;
    static constexpr bool kMin32 = false;
    static void order(const ActBlock& act, size_t, const StreamInput& x, size_t s) { order_natural<8>(act, x, s); }

    template <int kTokens>
    static void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        // Header: d, dmin, 12 bytes of packed 6-bit scales and minimums. Byte j % 4 of lane i of scale[j / 4] is the
        // scale of group j of block i; likewise min.
        __m256i h[4], scale[2], min[2];
        load_transposed(w, kBytes, h);
        const __m256i k3f = bytes(0x3f), k0f = bytes(0x0f), k30 = bytes(0x30);
        scale[0] = _mm256_and_si256(h[1], k3f);
        min[0] = _mm256_and_si256(h[2], k3f);
        scale[1] = or_and(_mm256_and_si256(h[3], k0f), _mm256_srli_epi32(h[1], 2), k30);
        min[1] = or_and(_mm256_and_si256(_mm256_srli_epi32(h[3], 4), k0f), _mm256_srli_epi32(h[2], 2), k30);
        alignas(32) int32_t scales[8][kGroupBlocks];
        TERN_UNROLL
        for (int g = 0; g < 8; ++g) store32(scales[g], byte_twice(scale[g / 4], g % 4));
        Sums<kTokens> sums;
        TERN_NO_UNROLL
        for (size_t i = 0; i < kGroupBlocks; ++i) {
            const uint8_t* p = w + i * kBytes;
            prefetch_block<kBytes>(p);
            __m256i q[8], high = _mm256_setzero_si256();
            if constexpr (kFive) high = load32(p + 16);
            TERN_UNROLL
            for (int j = 0; j < 4; ++j) {
                const __m256i v = load32(p + kBytes - 128 + 32 * j);
                q[2 * j] = low_nibbles(v);
                q[2 * j + 1] = high_nibbles(v);
                if constexpr (kFive) {
                    q[2 * j] = _mm256_or_si256(q[2 * j], bit_to(high, 2 * j, 4));
                    q[2 * j + 1] = _mm256_or_si256(q[2 * j + 1], bit_to(high, 2 * j + 1, 4));
                }
            }
            multiply<kTokens>(q, [&](int g) { return _mm256_set1_epi32(scales[g][i]); }, x, s + i, i, sums);
        }
        __m256i mins[4];
        TERN_UNROLL
        for (int j = 0; j < 4; ++j) mins[j] = byte_pair(min[j / 2], j % 2);
        __m256 d, dmin;
        split_halves(h[0], d, dmin);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            store_with_min(out[t].u, d, dmin, reduce8(sums.v[t]), dot_sums<4>(mins, x[t], s));
    }
};
using StreamQ4_K = StreamQ45K<false>;
using StreamQ5_K = StreamQ45K<true>;

// ---- Q6_K, Q3_K, Q2_K: sixteen scales --------------------------------------------------------------------------------
struct StreamQ6_K {
    static constexpr size_t kBlock = 256, kBytes = 210, kSums = 8;
    static constexpr size_t kStreamTokens = 6;
    static constexpr bool kMin32 = false;
    static void order(const ActBlock& act, size_t, const StreamInput& x, size_t s) { order_natural<16>(act, x, s); }

    template <int kTokens>
    static void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        const __m256i k30 = bytes(0x30);
        Sums<kTokens> sums;
        __m256i t4[4], pairs[8];
        load_transposed(w + 192, kBytes, t4);
        alignas(32) int32_t scales[8][kGroupBlocks];
        TERN_UNROLL
        for (int j = 0; j < 8; ++j) {
            pairs[j] = signed_byte_pair(t4[j / 2], j % 2);
            store32(scales[j], pairs[j]);
        }
        TERN_NO_UNROLL
        for (size_t i = 0; i < kGroupBlocks; ++i) {
            const uint8_t* p = w + i * kBytes;
            prefetch_block<kBytes>(p);
            __m256i q[8];
            TERN_UNROLL
            for (int h = 0; h < 2; ++h) {
                const __m256i a = load32(p + 64 * h), b = load32(p + 64 * h + 32), c = load32(p + 128 + 32 * h);
                q[4 * h] = or_and(low_nibbles(a), _mm256_slli_epi16(c, 4), k30);
                q[4 * h + 1] = or_and(low_nibbles(b), _mm256_slli_epi16(c, 2), k30);
                q[4 * h + 2] = or_and(high_nibbles(a), c, k30);
                q[4 * h + 3] = or_and(high_nibbles(b), shift_right(c, 2), k30);
            }
            multiply<kTokens>(q, [&](int v) { return spread_pair(&scales[v][i]); }, x, s + i, i, sums);
        }
        const __m256 d = load_halves(w + 208, kBytes);
        TERN_UNROLL
        for (int j = 0; j < 8; ++j) pairs[j] = load32(scales[j]);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m256i bias = _mm256_slli_epi32(dot_sums<8>(pairs, x[t], s), 5);
            store_plain(out[t].u, d, _mm256_sub_epi32(reduce8(sums.v[t]), bias));
        }
    }
};

struct StreamQ3_K {
    static constexpr size_t kBlock = 256, kBytes = 110, kSums = 8;
    static constexpr size_t kStreamTokens = 6;
    static constexpr bool kMin32 = false;
    static void order(const ActBlock& act, size_t, const StreamInput& x, size_t s) { order_natural<16>(act, x, s); }

    template <int kTokens>
    static void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        const __m256i k3 = bytes(3), low = bytes(0x0f), k30 = bytes(0x30);
        // Bytes 94 to 109 are the end of the low bits, 12 bytes of 6-bit scales, d.
        __m256i t4[4], packed[3], scale[4], pairs[8];
        load_transposed(w + 94, kBytes, t4);
        TERN_UNROLL
        for (int i = 0; i < 3; ++i)
            packed[i] = _mm256_or_si256(_mm256_srli_epi32(t4[i], 16), _mm256_slli_epi32(t4[i + 1], 16));
        scale[0] = or_and(_mm256_and_si256(packed[0], low), _mm256_slli_epi32(packed[2], 4), k30);
        scale[1] = or_and(_mm256_and_si256(packed[1], low), _mm256_slli_epi32(packed[2], 2), k30);
        scale[2] = or_and(_mm256_and_si256(_mm256_srli_epi32(packed[0], 4), low), packed[2], k30);
        scale[3] = or_and(_mm256_and_si256(_mm256_srli_epi32(packed[1], 4), low), _mm256_srli_epi32(packed[2], 2), k30);
        alignas(32) int32_t scales[8][kGroupBlocks];
        TERN_UNROLL
        for (int j = 0; j < 8; ++j) {
            pairs[j] = signed_byte_pair(_mm256_sub_epi8(scale[j / 2], bytes(32)), j % 2);
            store32(scales[j], pairs[j]);
        }
        Sums<kTokens> sums;
        TERN_NO_UNROLL
        for (size_t i = 0; i < kGroupBlocks; ++i) {
            const uint8_t* p = w + i * kBytes;
            prefetch_block<kBytes>(p);
            const __m256i high = load32(p);
            __m256i q[8];
            TERN_UNROLL
            for (int h = 0; h < 2; ++h) {
                const __m256i v = load32(p + 32 + 32 * h);
                TERN_UNROLL
                for (int j = 0; j < 4; ++j)
                    q[4 * h + j] = _mm256_or_si256(_mm256_and_si256(shift_right(v, 2 * j), k3), bit_to(high, 4 * h + j, 2));
            }
            multiply<kTokens>(q, [&](int v) { return spread_pair(&scales[v][i]); }, x, s + i, i, sums);
        }
        __m256 unused, d;
        split_halves(t4[3], unused, d);
        TERN_UNROLL
        for (int j = 0; j < 8; ++j) pairs[j] = load32(scales[j]);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m256i bias = _mm256_slli_epi32(dot_sums<8>(pairs, x[t], s), 2);
            store_plain(out[t].u, d, _mm256_sub_epi32(reduce8(sums.v[t]), bias));
        }
    }
};

struct StreamQ2_K {
    static constexpr size_t kBlock = 256, kBytes = 84, kSums = 8;
    static constexpr size_t kStreamTokens = 6;
    static constexpr bool kMin32 = false;
    static void order(const ActBlock& act, size_t, const StreamInput& x, size_t s) { order_natural<16>(act, x, s); }

    template <int kTokens>
    static void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        const __m256i k3 = bytes(3), low = bytes(0x0f);
        __m256i header[4], mins[8];
        load_transposed(w, kBytes, header);
        alignas(32) int32_t scales[8][kGroupBlocks];
        TERN_UNROLL
        for (int j = 0; j < 8; ++j) store32(scales[j], byte_pair(_mm256_and_si256(header[j / 2], low), j % 2));
        Sums<kTokens> sums;
        TERN_NO_UNROLL
        for (size_t i = 0; i < kGroupBlocks; ++i) {
            const uint8_t* p = w + i * kBytes;
            prefetch_line(p, 0);
            if (i % 3 == 0) prefetch_line(p, 1);
            __m256i q[8];
            TERN_UNROLL
            for (int h = 0; h < 2; ++h) {
                const __m256i v = load32(p + 16 + 32 * h);
                TERN_UNROLL
                for (int j = 0; j < 4; ++j) q[4 * h + j] = _mm256_and_si256(shift_right(v, 2 * j), k3);
            }
            multiply<kTokens>(q, [&](int v) { return spread_pair(&scales[v][i]); }, x, s + i, i, sums);
        }
        TERN_UNROLL
        for (int j = 0; j < 8; ++j)
            mins[j] = byte_pair(_mm256_and_si256(_mm256_srli_epi32(header[j / 2], 4), low), j % 2);
        __m256 d, dmin;
        split_halves(load_dwords(w + 80, kBytes), d, dmin);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            store_with_min(out[t].u, d, dmin, reduce8(sums.v[t]), dot_sums<8>(mins, x[t], s));
    }
};

// ---- IQ4_XS ----------------------------------------------------------------------------------------------------------
struct StreamIQ4_XS {
    static constexpr size_t kBlock = 256, kBytes = 136, kSums = kSignedBias != 0 ? 4 : 0;
    static constexpr size_t kStreamTokens = 6;
    static constexpr bool kMin32 = false;
    // The low halves of 32 packed bytes are the first 16 elements of two groups, the high halves the others.
    static void order(const ActBlock& act, size_t, const StreamInput& x, size_t s) {
        for (int v = 0; v < 4; ++v)
            for (int half = 0; half < 2; ++half)
                for (int g = 0; g < 2; ++g)
                    memcpy(x.q + s * kSuper + 64 * v + 32 * half + 16 * g, act.q + 64 * v + 32 * g + 16 * half, 16);
        for (size_t j = 0; j < kSums; ++j) memcpy(x.sums + j * x.length + s, act.k.sum32 + 2 * j, 4);
    }

    template <int kTokens>
    static void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        const __m256i table = iq4_table(), fifteen = _mm256_set1_epi32(15), three = _mm256_set1_epi32(3);
        __m256i t4[4], pairs[4];
        load_transposed(w, kBytes, t4);  // d and the high bits of the scales, their low bits
        // Pairs of scales, in the lower and the upper half of the lane.
        alignas(32) int32_t scales[4][kGroupBlocks];
        TERN_UNROLL
        for (int j = 0; j < 4; ++j) {
            __m256i half[2];
            TERN_UNROLL
            for (int g = 0; g < 2; ++g) {
                const int group = 2 * j + g;
                const __m256i low = _mm256_and_si256(_mm256_srli_epi32(t4[1], 4 * group), fifteen);
                const __m256i high = _mm256_and_si256(_mm256_srli_epi32(t4[0], 16 + 2 * group), three);
                half[g] = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
            }
            pairs[j] = _mm256_sub_epi16(_mm256_or_si256(half[0], _mm256_slli_epi32(half[1], 16)), _mm256_set1_epi16(32));
            store32(scales[j], pairs[j]);
        }
        Sums<kTokens> sums;
        TERN_NO_UNROLL
        for (size_t i = 0; i < kGroupBlocks; ++i) {
            const uint8_t* p = w + i * kBytes;
            prefetch_block<kBytes>(p);
            __m256i total[kTokens];
            TERN_UNROLL
            for (int v = 0; v < 4; ++v) {
                const __m256i packed = load32(p + 8 + 32 * v);
                const __m256i a = _mm256_shuffle_epi8(table, low_nibbles(packed));
                const __m256i b = _mm256_shuffle_epi8(table, high_nibbles(packed));
                const __m256i scale = spread_wide_pair(&scales[v][i]);
                TERN_UNROLL
                for (int t = 0; t < kTokens; ++t) {
                    const int8_t* act = x[t].q + (s + i) * kSuper + 64 * v;
                    total[t] = add_scaled_signed(v ? total[t] : _mm256_setzero_si256(), a, load32(act), b,
                                                 load32(act + 32), scale);
                }
            }
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) sums.v[t][i] = total[t];
        }
        __m256 d, unused;
        split_halves(t4[0], d, unused);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            __m256i sum = reduce8(sums.v[t]);
            if constexpr (kSignedBias != 0) {
                const __m256i bias = dot_sums<4>(pairs, x[t], s);
                sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(bias, _mm256_set1_epi32(kSignedBias)));
            }
            store_plain(out[t].u, d, sum);
        }
    }
};

}  // namespace
}  // namespace tern::kernels
