// Formats of 32 elements. Four blocks share a vector: one lane of 128 bits holds the first or the second halves of a
// block (formats of 4 and 5 bits); Q8_0 puts two whole blocks into a vector.
#include "kernels/avx512/matmul_stream.h"

namespace tern::kernels::avx512 {
namespace {

void order_natural(const ActBlock& act, size_t part, int8_t* q) { memcpy(q, act.q + 32 * part, 32); }

TERN_INLINE __m512i load64(const void* p) { return _mm512_loadu_si512(p); }

TERN_INLINE void store_products(const StreamOutput& o, const StreamInput& x, size_t s, __m512 d, __m512i sum) {
    _mm512_storeu_ps(o.u, _mm512_cvtepi32_ps(sum));
    _mm512_storeu_ps(o.scale, _mm512_mul_ps(d, _mm512_loadu_ps(x.d + s)));
}

// ---- Q8_0 ---------------------------------------------------------------------------------------------------------
// Vector i holds blocks 2i and 2i + 1: lane b of the result is the sum of block b.
TERN_INLINE __m512i reduce_pairs(const __m512i v[8]) {
    __m512i b[2];
    TERN_UNROLL
    for (int i = 0; i < 2; ++i) {
        const __m512i* p = v + 4 * i;
        const __m512i x = _mm512_add_epi32(_mm512_unpacklo_epi32(p[0], p[1]), _mm512_unpackhi_epi32(p[0], p[1]));
        const __m512i y = _mm512_add_epi32(_mm512_unpacklo_epi32(p[2], p[3]), _mm512_unpackhi_epi32(p[2], p[3]));
        b[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
    }
    const __m512i c = _mm512_add_epi32(_mm512_shuffle_i32x4(b[0], b[1], 0x88), _mm512_shuffle_i32x4(b[0], b[1], 0xdd));
    // Now the blocks stand as 0 2 4 6, 1 3 5 7, 8 10 12 14, 9 11 13 15.
    const __m512i order = _mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    return _mm512_permutexvar_epi32(order, c);
}

template <int kTokens>
void group_q8_0(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
                const StreamOutput* out) {
    constexpr size_t kBytes = 34;
    __m512i dot[kTokens][8];
    TERN_UNROLL
    for (size_t i = 0; i < 8; ++i) {
        const uint8_t* p = w + 2 * i * kBytes + 2;
        prefetch_share<kLanes * kBytes, 8>(w, i);
        __m512i q = _mm512_inserti64x4(_mm512_castsi256_si512(load32(p)), load32(p + kBytes), 1);
        q = _mm512_xor_si512(q, bytes(0x80));
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t)
            dot[t][i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load64(x[t].q + (s + 2 * i) * 32));
    }
    const __m512 d = load_halves(w, kBytes);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512i bias = _mm512_slli_epi32(load64(x[t].sums + s), 7);
        store_products(out[t], x[t], s, d, _mm512_sub_epi32(reduce_pairs(dot[t]), bias));
    }
}

// ---- formats of 4 and 5 bits ----------------------------------------------------------------------------------------
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
    case Nibbles::iq4_nl: return 128;
    case Nibbles::mxfp4: return 12;
    default: return 0;
    }
}
constexpr bool has_min(Nibbles f) { return f == Nibbles::q4_1 || f == Nibbles::q5_1; }
constexpr bool has_fifth_bit(Nibbles f) { return f == Nibbles::q5_0 || f == Nibbles::q5_1; }

// One quarter of the lanes from each of four places.
TERN_INLINE __m512i gather_lanes(const void* a, const void* b, const void* c, const void* d) {
    __m512i v = _mm512_inserti32x4(_mm512_castsi128_si512(load16(a)), load16(b), 1);
    v = _mm512_inserti32x4(v, load16(c), 2);
    return _mm512_inserti32x4(v, load16(d), 3);
}

// Lane b of the result is the sum of block b; lane-of-128 l of v[i] holds block 4i + l.
TERN_INLINE __m512i reduce_quads(const __m512i v[4]) {
    const __m512i x = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    const __m512i y = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    const __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, c);
}

// The 32 fifth bits of a block as bytes of 16 or 0: the first 16 in the lower lane.
TERN_INLINE __m256i fifth_bits(const uint8_t* p) {
    uint32_t bits;
    memcpy(&bits, p, 4);
    return _mm256_maskz_mov_epi8(bits, _mm256_set1_epi8(16));
}

template <Nibbles kFormat, int kTokens>
void group_nibbles(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
                   const StreamOutput* out) {
    constexpr size_t kBytes = bytes_of(kFormat);
    const __m512i low = bytes(0x0f);
    __m512i table = _mm512_setzero_si512();
    if constexpr (kFormat == Nibbles::iq4_nl) table = iq4_table();
    if constexpr (kFormat == Nibbles::mxfp4) table = e2m1_table();
    __m512i dot[kTokens][4];
    TERN_UNROLL
    for (size_t i = 0; i < 4; ++i) {
        const uint8_t* p = w + 4 * i * kBytes + (kBytes - 16);
        prefetch_share<kLanes * kBytes, 4>(w, i);
        const __m512i packed = gather_lanes(p, p + kBytes, p + 2 * kBytes, p + 3 * kBytes);
        __m512i first = _mm512_and_si512(packed, low);
        __m512i second = _mm512_and_si512(_mm512_srli_epi16(packed, 4), low);
        if constexpr (kFormat == Nibbles::iq4_nl || kFormat == Nibbles::mxfp4) {
            first = _mm512_shuffle_epi8(table, first);
            second = _mm512_shuffle_epi8(table, second);
        }
        if constexpr (has_fifth_bit(kFormat)) {
            const uint8_t* h = p - 4;
            const __m512i ab = _mm512_inserti64x4(_mm512_castsi256_si512(fifth_bits(h)), fifth_bits(h + kBytes), 1);
            const __m512i cd = _mm512_inserti64x4(_mm512_castsi256_si512(fifth_bits(h + 2 * kBytes)),
                                                  fifth_bits(h + 3 * kBytes), 1);
            first = _mm512_or_si512(first, _mm512_shuffle_i64x2(ab, cd, 0x88));
            second = _mm512_or_si512(second, _mm512_shuffle_i64x2(ab, cd, 0xdd));
        }
        TERN_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const int8_t* a = x[t].q + (s + 4 * i) * 32;
            const __m512i ab = load64(a), cd = load64(a + 64);
            const __m512i lower = _mm512_shuffle_i64x2(ab, cd, 0x88), upper = _mm512_shuffle_i64x2(ab, cd, 0xdd);
            dot[t][i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), first, lower), second, upper);
        }
    }
    __m512 d, dmin = _mm512_setzero_ps();
    if constexpr (kFormat == Nibbles::mxfp4) {
        int32_t e[kLanes];
        TERN_UNROLL
        for (size_t r = 0; r < kLanes; ++r) e[r] = w[r * kBytes];
        d = e8m0_half(_mm512_setr_epi32(e[0], e[1], e[2], e[3], e[4], e[5], e[6], e[7], e[8], e[9], e[10], e[11],
                                        e[12], e[13], e[14], e[15]));
    } else if constexpr (has_min(kFormat)) {
        const __m512i header = load_transposed4(w, kBytes);
        d = low_halves(header);
        dmin = negate(high_halves(header));
    } else {
        d = load_halves(w, kBytes);
    }
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        __m512i sum = reduce_quads(dot[t]);
        if constexpr (bias_of(kFormat) != 0)
            sum = _mm512_sub_epi32(
                sum, _mm512_mullo_epi32(load64(x[t].sums + s), _mm512_set1_epi32(bias_of(kFormat))));
        store_products(out[t], x[t], s, d, sum);
        if constexpr (has_min(kFormat))
            _mm512_storeu_ps(out[t].offset, _mm512_mul_ps(dmin, _mm512_loadu_ps(x[t].d + s)));
    }
}

template <Nibbles kFormat>
constexpr StreamFormat nibbles() {
    return {32, bytes_of(kFormat), 1, has_min(kFormat), order_natural,
            {group_nibbles<kFormat, 1>, group_nibbles<kFormat, 2>}};
}

}  // namespace

const StreamFormat kStreamQ8_0 = {32, 34, 1, false, order_natural, {group_q8_0<1>, group_q8_0<2>}};
const StreamFormat kStreamQ4_0 = nibbles<Nibbles::q4_0>();
const StreamFormat kStreamQ4_1 = nibbles<Nibbles::q4_1>();
const StreamFormat kStreamQ5_0 = nibbles<Nibbles::q5_0>();
const StreamFormat kStreamQ5_1 = nibbles<Nibbles::q5_1>();
const StreamFormat kStreamIQ4_NL = nibbles<Nibbles::iq4_nl>();
const StreamFormat kStreamMXFP4 = nibbles<Nibbles::mxfp4>();

}  // namespace tern::kernels::avx512
