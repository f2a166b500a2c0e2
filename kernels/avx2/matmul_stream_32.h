// Stream formats of 32 elements; kernels/formats/<format>.h describes the blocks.
#pragma once

#include "kernels/avx2/matmul_rows.h"
#include "kernels/avx2/matmul_stream.h"

namespace tern::kernels {
namespace {

TERN_INLINE void prefetch_group(const uint8_t* w, size_t bytes) {
    for (size_t i = 0; i < (bytes + 63) / 64; ++i) prefetch_line(w, i);
}

TERN_INLINE void store_products(const StreamOutput& o, const StreamInput& x, size_t s, __m256 d, __m256i sum, int bias) {
    if (bias != 0)
        sum = _mm256_sub_epi32(sum, _mm256_mullo_epi32(load32(x.sums + s), _mm256_set1_epi32(bias)));
    _mm256_storeu_ps(o.u, _mm256_cvtepi32_ps(sum));
    _mm256_storeu_ps(o.scale, _mm256_mul_ps(d, _mm256_loadu_ps(x.d + s)));
}

struct StreamQ8_0 {
    static constexpr size_t kBlock = 32, kBytes = 34, kSums = 1;
    static constexpr size_t kStreamTokens = 3;
    static constexpr bool kMin32 = false;
    static void order(const ActBlock& act, size_t part, const StreamInput& x, size_t s) {
        memcpy(x.q + s * 32, act.q + 32 * part, 32);
        x.sums[s] = act.b.sum[part];
    }

    template <int kTokens>
    TERN_INLINE void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        prefetch_group(w, kGroupBlocks * kBytes);
        __m256i dot[kTokens][8];
        TERN_UNROLL
        for (size_t i = 0; i < 8; ++i) {
            const __m256i q = load32(w + i * kBytes + 2);
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t)
                dot[t][i] = add_signed_bytes(_mm256_setzero_si256(), q, load32(x[t].q + (s + i) * 32));
        }
        const __m256 d = load_halves(w, kBytes);
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) store_products(out[t], x[t], s, d, reduce8(dot[t]), kSignedBias);
    }
};

// ---- formats of 4 and 5 bits -----------------------------------------------------------------------------------------
enum class Nibbles { q4_0, q4_1, q5_0, q5_1, iq4_nl, mxfp4 };

constexpr size_t bytes_of(Nibbles f) {
    switch (f) {
    case Nibbles::q4_0: return 18;
    case Nibbles::q4_1: return 20;
    case Nibbles::q5_0: return 22;
    case Nibbles::q5_1: return 24;
    case Nibbles::iq4_nl: return 18;
    case Nibbles::mxfp4: return 17;
    }
    return 0;
}
constexpr int bias_of(Nibbles f) {
    switch (f) {
    case Nibbles::q4_0: return 8;
    case Nibbles::q5_0: return 16;
    case Nibbles::iq4_nl: return kSignedBias;
    case Nibbles::mxfp4: return 12;
    default: return 0;
    }
}
constexpr bool has_min(Nibbles f) { return f == Nibbles::q4_1 || f == Nibbles::q5_1; }
constexpr bool has_fifth_bit(Nibbles f) { return f == Nibbles::q5_0 || f == Nibbles::q5_1; }

// 128 bits from each of two places.
TERN_INLINE __m256i two_lanes(const void* a, const void* b) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(a)), load16(b), 1);
}
// Bit 16 * half + j of dword 0 of either lane to bit 4 of byte j.
TERN_INLINE __m256i fifth_bits_of_lanes(__m256i v, int half) {
    const __m256i index = _mm256_setr_epi64x(0, 0x0101010101010101, 0, 0x0101010101010101);
    const __m256i bits = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    const __m256i spread = _mm256_shuffle_epi8(v, half ? _mm256_add_epi8(index, bytes(2)) : index);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits), bytes(16));
}

// Either lane of a vector holds the first or the second half of one block, so the activations stand in two planes: all
// first halves, then all second halves.
template <Nibbles kFormat>
struct StreamNibbles {
    static constexpr size_t kBlock = 32, kBytes = bytes_of(kFormat), kSums = 1;
    static constexpr size_t kStreamTokens = 3;
    static constexpr bool kMin32 = has_min(kFormat);
    static void order(const ActBlock& act, size_t part, const StreamInput& x, size_t s) {
        memcpy(x.q + s * 16, act.q + 32 * part, 16);
        memcpy(x.q + (x.length + s) * 16, act.q + 32 * part + 16, 16);
        x.sums[s] = act.b.sum[part];
    }

    template <int kTokens>
    TERN_INLINE void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamOutput* out) {
        prefetch_group(w, kGroupBlocks * kBytes);
        __m256i dot[kTokens][4];
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            const uint8_t* p = w + 2 * i * kBytes + (kBytes - 16);
            const __m256i packed = two_lanes(p, p + kBytes);
            __m256i first = low_nibbles(packed), second = high_nibbles(packed);
            if constexpr (kFormat == Nibbles::iq4_nl) {
                first = _mm256_shuffle_epi8(iq4_table(), first);
                second = _mm256_shuffle_epi8(iq4_table(), second);
            }
            if constexpr (kFormat == Nibbles::mxfp4) {
                first = _mm256_shuffle_epi8(e2m1_table(), first);
                second = _mm256_shuffle_epi8(e2m1_table(), second);
            }
            if constexpr (has_fifth_bit(kFormat)) {
                const __m256i high = _mm256_inserti128_si256(_mm256_set1_epi32(static_cast<int>(load_u32(p - 4))),
                                                             _mm_set1_epi32(static_cast<int>(load_u32(p - 4 + kBytes))), 1);
                first = _mm256_or_si256(first, fifth_bits_of_lanes(high, 0));
                second = _mm256_or_si256(second, fifth_bits_of_lanes(high, 1));
            }
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const __m256i a = load32(x[t].q + (s + 2 * i) * 16), b = load32(x[t].q + (x[t].length + s + 2 * i) * 16);
                const __m256i zero = _mm256_setzero_si256();
                if constexpr (kFormat == Nibbles::iq4_nl)
                    dot[t][i] = add_signed_bytes(add_signed_bytes(zero, first, a), second, b);
                else
                    dot[t][i] = add_partial(zero, partial_add(partial_first(first, a), second, b));
            }
        }
        __m256 d, dmin = _mm256_setzero_ps();
        if constexpr (kFormat == Nibbles::mxfp4) {
            auto e = [&](size_t i) { return static_cast<int>(w[i * kBytes]); };
            d = e8m0_half(_mm256_setr_epi32(e(0), e(1), e(2), e(3), e(4), e(5), e(6), e(7)));
        } else if constexpr (kMin32) {
            split_halves(load_dwords(w, kBytes), d, dmin);
            dmin = _mm256_xor_ps(dmin, _mm256_set1_ps(-0.0f));
        } else {
            d = load_halves(w, kBytes);
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            // The blocks stand as 0 2 4 6, 1 3 5 7.
            const __m256i* v = dot[t];
            const __m256i l = _mm256_add_epi32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
            const __m256i h = _mm256_add_epi32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
            const __m256i sum = _mm256_permutevar8x32_epi32(
                _mm256_add_epi32(_mm256_unpacklo_epi64(l, h), _mm256_unpackhi_epi64(l, h)),
                _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            store_products(out[t], x[t], s, d, sum, bias_of(kFormat));
            if constexpr (kMin32) _mm256_storeu_ps(out[t].offset, _mm256_mul_ps(dmin, _mm256_loadu_ps(x[t].d + s)));
        }
    }
};
using StreamQ4_0 = StreamNibbles<Nibbles::q4_0>;
using StreamQ4_1 = StreamNibbles<Nibbles::q4_1>;
using StreamQ5_0 = StreamNibbles<Nibbles::q5_0>;
using StreamQ5_1 = StreamNibbles<Nibbles::q5_1>;
using StreamIQ4_NL = StreamNibbles<Nibbles::iq4_nl>;
using StreamMXFP4 = StreamNibbles<Nibbles::mxfp4>;

}  // namespace
}  // namespace tern::kernels
