// Formats of 256 elements.
#include "kernels/avx512/matmul_stream.h"

namespace tern::kernels::avx512 {
namespace {

// The sums of 16 blocks for each token, one vector a block until they are reduced together.
template <int kTokens>
struct Sums {
    __m512i v[kTokens][kLanes];
};

TERN_INLINE __m512i load64(const void* p) { return _mm512_loadu_si512(p); }
TERN_INLINE __m512i twice(__m256i v) { return _mm512_broadcast_i64x4(v); }
// a in the lower half, b in the upper half, as 16-bit shift counts.
TERN_INLINE __m512i counts(short a, short b) {
    return _mm512_inserti64x4(_mm512_set1_epi16(a), _mm256_set1_epi16(b), 1);
}

// sum over pairs of groups of x * sums, lane = block.
template <int kCount>
TERN_INLINE __m512i dot_pairs(const __m512i* pairs, const StreamInput& x, size_t s) {
    __m512i m = _mm512_setzero_si512();
    TERN_UNROLL
    for (size_t j = 0; j < kCount; ++j) m = _mm512_dpwssd_epi32(m, pairs[j], load64(x.sums + j * x.length + s));
    return m;
}

TERN_INLINE void store_plain(float* u, __m512 d, __m512i sum) {
    _mm512_storeu_ps(u, _mm512_mul_ps(d, _mm512_cvtepi32_ps(sum)));
}
TERN_INLINE void store_with_min(float* u, __m512 d, __m512 dmin, __m512i sum, __m512i m) {
    const __m512 offset = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(m));
    _mm512_storeu_ps(u, _mm512_fmsub_ps(d, _mm512_cvtepi32_ps(sum), offset));
}

// sum of q * a * scale over four vectors of unsigned bytes below 128, scales as int16 pairs.
template <int kTokens>
TERN_INLINE void multiply(const __m512i q[4], const __m512i scale[4], const StreamInput* x, size_t block, size_t i,
                          Sums<kTokens>& sums) {
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const int8_t* a = x[t].q + block * kSuper;
        __m512i even = _mm512_madd_epi16(_mm512_maddubs_epi16(q[0], load64(a)), scale[0]);
        __m512i odd = _mm512_madd_epi16(_mm512_maddubs_epi16(q[1], load64(a + 64)), scale[1]);
        even = _mm512_dpwssd_epi32(even, _mm512_maddubs_epi16(q[2], load64(a + 128)), scale[2]);
        odd = _mm512_dpwssd_epi32(odd, _mm512_maddubs_epi16(q[3], load64(a + 192)), scale[3]);
        _mm512_store_si512(&sums.v[t][i], _mm512_add_epi32(even, odd));
    }
}

void order_natural(const ActBlock& act, size_t, int8_t* q) { memcpy(q, act.q, kSuper); }

// ---- Q4_K and Q5_K -----------------------------------------------------------------------------------------------
// A vector of quants holds groups g and g + 2, 32 bytes each.
void order_q4_k(const ActBlock& act, size_t, int8_t* q) {
    constexpr int kOrder[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (int j = 0; j < 8; ++j) memcpy(q + 32 * j, act.q + 32 * kOrder[j], 32);
}

template <int kTokens, bool kFive>
void group_k(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
             const StreamOutput* out) {
    constexpr size_t kBytes = kFive ? 176 : 144;
    const __m512i low = bytes(0x0f), k10 = bytes(0x10);
    // Byte pairs (scale of the group, 0) for each vector.
    const __m512i kZero = _mm512_set1_epi16(static_cast<short>(0x8000));
    const __m512i index[4] = {_mm512_or_si512(kZero, counts(0, 2)), _mm512_or_si512(kZero, counts(1, 3)),
                              _mm512_or_si512(kZero, counts(4, 6)), _mm512_or_si512(kZero, counts(5, 7))};
    const KHeader h = load_k_header(w, kBytes);
    alignas(64) uint64_t scales[2][8];  // of blocks 4n, 4n + 1 and of blocks 4n + 2, 4n + 3
    _mm512_store_si512(scales[0], _mm512_unpacklo_epi32(h.scale[0], h.scale[1]));
    _mm512_store_si512(scales[1], _mm512_unpackhi_epi32(h.scale[0], h.scale[1]));
    Sums<kTokens> sums;
    TERN_NO_UNROLL
    for (size_t n = 0; n < 4; ++n)
        TERN_UNROLL
        for (size_t e = 0; e < 4; ++e) {
            const size_t i = 4 * n + e;
            const uint8_t* p = w + i * kBytes;
            prefetch_share<4 * kBytes, 4>(w + 4 * n * kBytes, e);
            const __m512i all = _mm512_set1_epi64(static_cast<int64_t>(scales[e / 2][2 * n + e % 2]));
            __m512i scale[4], q[4];
            TERN_UNROLL
            for (int v = 0; v < 4; ++v) scale[v] = _mm512_shuffle_epi8(all, index[v]);
            const __m512i a = load64(p + kBytes - 128), b = load64(p + kBytes - 64);
            q[0] = _mm512_and_si512(a, low);
            q[1] = _mm512_and_si512(_mm512_srli_epi16(a, 4), low);
            q[2] = _mm512_and_si512(b, low);
            q[3] = _mm512_and_si512(_mm512_srli_epi16(b, 4), low);
            if constexpr (kFive) {
                const __m512i high = twice(load32(p + 16));
                q[0] = or_and(q[0], _mm512_sllv_epi16(high, counts(4, 2)), k10);
                q[1] = or_and(q[1], _mm512_sllv_epi16(high, counts(3, 1)), k10);
                q[2] = or_and(q[2], _mm512_srlv_epi16(high, counts(0, 2)), k10);
                q[3] = or_and(q[3], _mm512_srlv_epi16(high, counts(1, 3)), k10);
            }
            multiply<kTokens>(q, scale, x, s + i, i, sums);
        }
    __m512i mins[4];
    TERN_UNROLL
    for (int j = 0; j < 4; ++j) mins[j] = byte_pair_of(h.min[j / 2], j % 2);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        store_with_min(out[t].u, h.d, h.dmin, reduce16(sums.v[t]), dot_pairs<4>(mins, x[t], s));
}

// ---- Q6_K, Q3_K, Q2_K: sixteen scales ------------------------------------------------------------------------------

// Signed bytes to int16; then the lanes of vector v take the groups index[v] names, one per 16 elements.
TERN_INLINE void spread_scales(__m256i scales, const __m512i index[4], __m512i out[4]) {
    const __m512i wide = _mm512_castsi256_si512(scales);
    TERN_UNROLL
    for (int v = 0; v < 4; ++v) out[v] = _mm512_permutexvar_epi16(index[v], wide);
}
TERN_INLINE __m512i groups(short a, short b, short c, short d) {
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_set1_epi16(a), _mm_set1_epi16(b), 1)),
        _mm256_inserti128_si256(_mm256_set1_epi16(c), _mm_set1_epi16(d), 1), 1);
}

template <int kTokens>
void group_q6_k(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
                const StreamOutput* out) {
    constexpr size_t kBytes = 210;
    const __m512i low = bytes(0x0f), k30 = bytes(0x30);
    const __m512i index[4] = {groups(0, 1, 2, 3), groups(4, 5, 6, 7), groups(8, 9, 10, 11), groups(12, 13, 14, 15)};
    const __m512i left = counts(4, 2), right = counts(0, 2);
    Sums<kTokens> sums;
    TERN_NO_UNROLL
    for (size_t n = 0; n < 4; ++n)
        TERN_UNROLL
        for (size_t e = 0; e < 4; ++e) {
            const size_t i = 4 * n + e;
            const uint8_t* p = w + i * kBytes;
            prefetch_share<4 * kBytes, 4>(w + 4 * n * kBytes, e);
            __m512i q[4], scale[4];
            TERN_UNROLL
            for (int h = 0; h < 2; ++h) {
                const __m512i a = load64(p + 64 * h), high = twice(load32(p + 128 + 32 * h));
                q[2 * h] = or_and(_mm512_and_si512(a, low), _mm512_sllv_epi16(high, left), k30);
                q[2 * h + 1] = or_and(_mm512_and_si512(_mm512_srli_epi16(a, 4), low),
                                      _mm512_srlv_epi16(high, right), k30);
            }
            spread_scales(_mm256_cvtepi8_epi16(load16(p + 192)), index, scale);
            multiply<kTokens>(q, scale, x, s + i, i, sums);
        }
    __m512i scale[4], pairs[8];
    load_transposed(w + 192, kBytes, scale);
    TERN_UNROLL
    for (int j = 0; j < 8; ++j) pairs[j] = signed_byte_pair_of(scale[j / 2], j % 2);
    const __m512 d = load_halves(w + 208, kBytes);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512i bias = _mm512_slli_epi32(dot_pairs<8>(pairs, x[t], s), 5);
        store_plain(out[t].u, d, _mm512_sub_epi32(reduce16(sums.v[t]), bias));
    }
}

// Q2_K and Q3_K: vector v holds elements 32v to 32v + 31 and 128 + 32v to 128 + 32v + 31.
void order_q2_k(const ActBlock& act, size_t, int8_t* q) {
    for (int v = 0; v < 4; ++v) {
        memcpy(q + 64 * v, act.q + 32 * v, 32);
        memcpy(q + 64 * v + 32, act.q + 128 + 32 * v, 32);
    }
}

template <int kTokens>
void group_q2_k(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
                const StreamOutput* out) {
    constexpr size_t kBytes = 84;
    const __m512i k3 = bytes(3), low = bytes(0x0f);
    const __m512i index[4] = {groups(0, 1, 8, 9), groups(2, 3, 10, 11), groups(4, 5, 12, 13), groups(6, 7, 14, 15)};
    Sums<kTokens> sums;
    TERN_NO_UNROLL
    for (size_t n = 0; n < 4; ++n)
        TERN_UNROLL
        for (size_t e = 0; e < 4; ++e) {
            const size_t i = 4 * n + e;
            const uint8_t* p = w + i * kBytes;
            prefetch_share<4 * kBytes, 4>(w + 4 * n * kBytes, e);
            __m512i q[4], scale[4];
            const __m512i a = load64(p + 16);
            TERN_UNROLL
            for (int v = 0; v < 4; ++v)
                q[v] = _mm512_and_si512(_mm512_srli_epi16(a, static_cast<unsigned>(2 * v)), k3);
            const __m128i packed = _mm_and_si128(load16(p), _mm_set1_epi8(0x0f));
            spread_scales(_mm256_cvtepu8_epi16(packed), index, scale);
            multiply<kTokens>(q, scale, x, s + i, i, sums);
        }
    __m512i header[4], mins[8];
    load_transposed(w, kBytes, header);
    TERN_UNROLL
    for (int j = 0; j < 8; ++j)
        mins[j] = byte_pair_of(_mm512_and_si512(_mm512_srli_epi32(header[j / 2], 4), low), j % 2);
    const __m512i scales = load_transposed4(w + 80, kBytes);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t)
        store_with_min(out[t].u, low_halves(scales), high_halves(scales), reduce16(sums.v[t]),
                       dot_pairs<8>(mins, x[t], s));
}

template <int kTokens>
void group_q3_k(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
                const StreamOutput* out) {
    constexpr size_t kBytes = 110;
    const __m512i k3 = bytes(3), k4 = bytes(4), low = bytes(0x0f), k30 = bytes(0x30);
    const __m512i index[4] = {groups(0, 1, 8, 9), groups(2, 3, 10, 11), groups(4, 5, 12, 13), groups(6, 7, 14, 15)};
    // As in the packer: bytes 94 to 109 are the end of qs, the scales and d.
    __m512i t4[4], packed[3], scale[4];
    load_transposed(w + 94, kBytes, t4);
    TERN_UNROLL
    for (int i = 0; i < 3; ++i)
        packed[i] = _mm512_or_si512(_mm512_srli_epi32(t4[i], 16), _mm512_slli_epi32(t4[i + 1], 16));
    scale[0] = or_and(_mm512_and_si512(packed[0], low), _mm512_slli_epi32(packed[2], 4), k30);
    scale[1] = or_and(_mm512_and_si512(packed[1], low), _mm512_slli_epi32(packed[2], 2), k30);
    scale[2] = or_and(_mm512_and_si512(_mm512_srli_epi32(packed[0], 4), low), packed[2], k30);
    scale[3] = or_and(_mm512_and_si512(_mm512_srli_epi32(packed[1], 4), low), _mm512_srli_epi32(packed[2], 2), k30);
    TERN_UNROLL
    for (int g = 0; g < 4; ++g) scale[g] = _mm512_sub_epi8(scale[g], bytes(32));
    // Back to one block after the other: scales[e][n] belongs to block 4n + e.
    alignas(64) __m128i scales[4][4];
    const __m512i a0 = _mm512_unpacklo_epi32(scale[0], scale[1]), a1 = _mm512_unpackhi_epi32(scale[0], scale[1]);
    const __m512i b0 = _mm512_unpacklo_epi32(scale[2], scale[3]), b1 = _mm512_unpackhi_epi32(scale[2], scale[3]);
    _mm512_store_si512(scales[0], _mm512_unpacklo_epi64(a0, b0));
    _mm512_store_si512(scales[1], _mm512_unpackhi_epi64(a0, b0));
    _mm512_store_si512(scales[2], _mm512_unpacklo_epi64(a1, b1));
    _mm512_store_si512(scales[3], _mm512_unpackhi_epi64(a1, b1));
    Sums<kTokens> sums;
    TERN_NO_UNROLL
    for (size_t n = 0; n < 4; ++n)
        TERN_UNROLL
        for (size_t e = 0; e < 4; ++e) {
            const size_t i = 4 * n + e;
            const uint8_t* p = w + i * kBytes;
            prefetch_share<4 * kBytes, 4>(w + 4 * n * kBytes, e);
            const __m512i a = load64(p + 32), high = _mm512_srlv_epi16(twice(load32(p)), counts(0, 4));
            __m512i q[4], spread[4];
            TERN_UNROLL
            for (unsigned v = 0; v < 4; ++v) {
                const __m512i third = v < 2 ? _mm512_slli_epi16(high, 2 - v) : _mm512_srli_epi16(high, v - 2);
                q[v] = or_and(_mm512_and_si512(_mm512_srli_epi16(a, 2 * v), k3), third, k4);
            }
            spread_scales(_mm256_cvtepi8_epi16(scales[e][n]), index, spread);
            multiply<kTokens>(q, spread, x, s + i, i, sums);
        }
    __m512i pairs[8];
    TERN_UNROLL
    for (int j = 0; j < 8; ++j) pairs[j] = signed_byte_pair_of(scale[j / 2], j % 2);
    const __m512 d = high_halves(t4[3]);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512i bias = _mm512_slli_epi32(dot_pairs<8>(pairs, x[t], s), 2);
        store_plain(out[t].u, d, _mm512_sub_epi32(reduce16(sums.v[t]), bias));
    }
}

// ---- IQ4_XS ------------------------------------------------------------------------------------------------------
// Vectors of 16 elements from each of four groups: first halves, second halves, of groups 0 to 3, then of 4 to 7.
void order_iq4_xs(const ActBlock& act, size_t, int8_t* q) {
    for (int v = 0; v < 4; ++v)
        for (int g = 0; g < 4; ++g) memcpy(q + 64 * v + 16 * g, act.q + 128 * (v / 2) + 32 * g + 16 * (v % 2), 16);
}

template <int kTokens>
void group_iq4_xs(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
                  const StreamOutput* out) {
    constexpr size_t kBytes = 136;
    const __m512i table = iq4_table(), low = bytes(0x0f);
    __m512i t4[4], scale[2], values[8];
    load_transposed(w, kBytes, t4);
    scale[0] = scale[1] = _mm512_setzero_si512();
    TERN_UNROLL
    for (unsigned j = 0; j < 8; ++j) {
        const __m512i l = _mm512_and_si512(_mm512_srli_epi32(t4[1], 4 * j), _mm512_set1_epi32(15));
        const __m512i h = _mm512_and_si512(_mm512_srli_epi32(t4[0], 16 + 2 * j), _mm512_set1_epi32(3));
        const __m512i v = _mm512_sub_epi32(_mm512_or_si512(l, _mm512_slli_epi32(h, 4)), _mm512_set1_epi32(32));
        values[j] = v;
        const __m512i byte = _mm512_and_si512(v, _mm512_set1_epi32(255));
        scale[j / 4] = _mm512_or_si512(scale[j / 4], _mm512_slli_epi32(byte, 8 * (j % 4)));
    }
    __m512i pairs[4];
    TERN_UNROLL
    for (int j = 0; j < 4; ++j)
        pairs[j] = _mm512_mask_blend_epi16(0xaaaaaaaa, values[2 * j], _mm512_slli_epi32(values[2 * j + 1], 16));
    alignas(64) uint64_t scales[2][8];  // of blocks 4n, 4n + 1 and of blocks 4n + 2, 4n + 3
    _mm512_store_si512(scales[0], _mm512_unpacklo_epi32(scale[0], scale[1]));
    _mm512_store_si512(scales[1], _mm512_unpackhi_epi32(scale[0], scale[1]));
    // The scale goes to the top byte of each dword of its group's lane.
    const __m512i top = _mm512_set1_epi32(static_cast<int>(0x00808080u));
    auto lane_index = [&](int first) {
        const __m512i g = _mm512_inserti32x4(
            _mm512_inserti32x4(_mm512_inserti32x4(_mm512_castsi128_si512(_mm_set1_epi32(first << 24)),
                                                  _mm_set1_epi32((first + 1) << 24), 1),
                               _mm_set1_epi32((first + 2) << 24), 2),
            _mm_set1_epi32((first + 3) << 24), 3);
        return _mm512_or_si512(top, g);
    };
    const __m512i index[2] = {lane_index(0), lane_index(4)};
    Sums<kTokens> sums;
    TERN_NO_UNROLL
    for (size_t n = 0; n < 4; ++n)
        TERN_UNROLL
        for (size_t e = 0; e < 4; ++e) {
            const size_t i = 4 * n + e;
            const uint8_t* p = w + i * kBytes;
            prefetch_share<4 * kBytes, 4>(w + 4 * n * kBytes, e);
            const __m512i all = _mm512_set1_epi64(static_cast<int64_t>(scales[e / 2][2 * n + e % 2]));
            __m512i q[4], spread[2];
            TERN_UNROLL
            for (int v = 0; v < 2; ++v) {
                const __m512i a = load64(p + 8 + 64 * v);
                q[2 * v] = _mm512_shuffle_epi8(table, _mm512_and_si512(a, low));
                q[2 * v + 1] = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(a, 4), low));
                spread[v] = _mm512_srai_epi32(_mm512_shuffle_epi8(all, index[v]), 24);
            }
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const int8_t* a = x[t].q + (s + i) * kSuper;
                __m512i dot[2];
                TERN_UNROLL
                for (int v = 0; v < 2; ++v) {
                    dot[v] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q[2 * v], load64(a + 128 * v));
                    dot[v] = _mm512_dpbusd_epi32(dot[v], q[2 * v + 1], load64(a + 128 * v + 64));
                    dot[v] = _mm512_mullo_epi32(dot[v], spread[v]);
                }
                _mm512_store_si512(&sums.v[t][i], _mm512_add_epi32(dot[0], dot[1]));
            }
        }
    const __m512 d = low_halves(t4[0]);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512i bias = _mm512_slli_epi32(dot_pairs<4>(pairs, x[t], s), 7);
        store_plain(out[t].u, d, _mm512_sub_epi32(reduce16(sums.v[t]), bias));
    }
}

}  // namespace

const StreamFormat kStreamQ4_K = {256, 144, 8, false, order_q4_k, {group_k<1, false>, group_k<2, false>, group_k<3, false>, group_k<4, false>}};
const StreamFormat kStreamQ5_K = {256, 176, 8, false, order_q4_k, {group_k<1, true>, group_k<2, true>, group_k<3, true>, group_k<4, true>}};
const StreamFormat kStreamQ6_K = {256, 210, 16, false, order_natural, {group_q6_k<1>, group_q6_k<2>, group_q6_k<3>, group_q6_k<4>}};
const StreamFormat kStreamQ2_K = {256, 84, 16, false, order_q2_k, {group_q2_k<1>, group_q2_k<2>, group_q2_k<3>, group_q2_k<4>}};
const StreamFormat kStreamQ3_K = {256, 110, 16, false, order_q2_k, {group_q3_k<1>, group_q3_k<2>, group_q3_k<3>, group_q3_k<4>}};
const StreamFormat kStreamIQ4_XS = {256, 136, 8, false, order_iq4_xs, {group_iq4_xs<1>, group_iq4_xs<2>, group_iq4_xs<3>, group_iq4_xs<4>}};

}  // namespace tern::kernels::avx512
