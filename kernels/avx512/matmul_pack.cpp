// Unpacks 16 rows of one superblock into a panel, one function per format. kernels/formats/<format>.h describes the
// blocks.
#include "kernels/avx512/matmul_pack.h"

namespace tern::kernels::avx512 {
namespace {

TERN_INLINE void store(void* p, __m512i v) { _mm512_store_si512(p, v); }

// ---- formats of 256 elements -------------------------------------------------------------------------------------

TERN_INLINE void store_k_header(const KHeader& h, Panel& out) {
    _mm512_store_ps(out.d[0], h.d);
    _mm512_store_ps(out.dmin[0], h.dmin);
    TERN_UNROLL
    for (int j = 0; j < 8; ++j) store(out.scale[j], byte_of(h.scale[j / 4], j % 4));
    TERN_UNROLL
    for (int j = 0; j < 4; ++j) store(out.min[j], byte_pair_of(h.min[j / 2], j % 2));
}

void pack_q4_k(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    store_k_header(load_k_header(p, stride), out);
    const __m512i low = bytes(0x0f);
    TERN_UNROLL
    for (size_t c = 0; c < 8; ++c) {
        __m512i o[4];
        load_transposed(p + 16 + 16 * c, stride, o);
        const size_t g = c / 2 * 16 + c % 2 * 4;
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            store(out.q[g + i], _mm512_and_si512(o[i], low));
            store(out.q[g + 8 + i], _mm512_and_si512(_mm512_srli_epi32(o[i], 4), low));
        }
    }
}

// Bit n of each byte, moved to bit 4 and added to the low half.
TERN_INLINE __m512i add_fifth_bit(__m512i low, __m512i high_bits, int n) {
    const __m512i moved = n < 4 ? _mm512_slli_epi32(high_bits, static_cast<unsigned>(4 - n))
                                : _mm512_srli_epi32(high_bits, static_cast<unsigned>(n - 4));
    return or_and(low, moved, bytes(0x10));
}

void pack_q5_k(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    store_k_header(load_k_header(p, stride), out);
    const __m512i low = bytes(0x0f);
    TERN_UNROLL
    for (size_t half = 0; half < 2; ++half) {
        __m512i high[4];
        load_transposed(p + 16 + 16 * half, stride, high);
        TERN_UNROLL
        for (size_t pair = 0; pair < 4; ++pair) {
            __m512i o[4];
            load_transposed(p + 48 + 32 * pair + 16 * half, stride, o);
            const size_t g = pair * 16 + half * 4;
            const int bit = static_cast<int>(2 * pair);
            TERN_UNROLL
            for (size_t i = 0; i < 4; ++i) {
                const __m512i top = _mm512_and_si512(_mm512_srli_epi32(o[i], 4), low);
                store(out.q[g + i], add_fifth_bit(_mm512_and_si512(o[i], low), high[i], bit));
                store(out.q[g + 8 + i], add_fifth_bit(top, high[i], bit + 1));
            }
        }
    }
}

void pack_q6_k(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    __m512i scale[4];
    load_transposed(p + 192, stride, scale);
    TERN_UNROLL
    for (int j = 0; j < 16; ++j) store(out.scale[j], signed_byte_of(scale[j / 4], j % 4));
    _mm512_store_ps(out.d[0], load_halves(p + 208, stride));
    const __m512i low = bytes(0x0f), k30 = bytes(0x30);
    TERN_UNROLL
    for (size_t n = 0; n < 2; ++n)
        TERN_UNROLL
        for (size_t half = 0; half < 2; ++half) {
            __m512i a[4], b[4], h[4];
            load_transposed(p + 64 * n + 16 * half, stride, a);
            load_transposed(p + 64 * n + 32 + 16 * half, stride, b);
            load_transposed(p + 128 + 32 * n + 16 * half, stride, h);
            TERN_UNROLL
            for (size_t i = 0; i < 4; ++i) {
                uint8_t(*q)[64] = out.q + n * 32 + half * 4 + i;
                store(q[0], or_and(_mm512_and_si512(a[i], low), _mm512_slli_epi32(h[i], 4), k30));
                store(q[8], or_and(_mm512_and_si512(b[i], low), _mm512_slli_epi32(h[i], 2), k30));
                store(q[16], or_and(_mm512_and_si512(_mm512_srli_epi32(a[i], 4), low), h[i], k30));
                store(q[24], or_and(_mm512_and_si512(_mm512_srli_epi32(b[i], 4), low), _mm512_srli_epi32(h[i], 2),
                                    k30));
            }
        }
}

// Multiplies unsigned bytes by the signed byte `n` of their dword of `scales`, modulo 256.
struct ByteScale {
    __m512i even, odd, all;
    __attribute__((always_inline)) ByteScale(__m512i scales, size_t n) {
        const __m512i lanes = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
        all = _mm512_shuffle_epi8(scales, _mm512_add_epi8(lanes, bytes(static_cast<int>(n))));
        even = _mm512_and_si512(all, _mm512_set1_epi16(0x00ff));
        odd = _mm512_andnot_si512(_mm512_set1_epi16(0x00ff), all);
    }
    __attribute__((always_inline)) __m512i times(__m512i q) const {
        const __m512i high = _mm512_slli_epi16(_mm512_maddubs_epi16(q, odd), 8);
        return or_and(high, _mm512_maddubs_epi16(q, even), _mm512_set1_epi16(0x00ff));
    }
};

void pack_q2_k(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    const __m512i low = bytes(0x0f), k3 = bytes(3);
    __m512i header[4], tail[4];
    load_transposed(p, stride, header);
    load_transposed(p + 68, stride, tail);
    _mm512_store_ps(out.d[0], low_halves(tail[3]));
    _mm512_store_ps(out.dmin[0], high_halves(tail[3]));
    TERN_UNROLL
    for (int g = 0; g < 4; ++g) {
        const __m512i min = _mm512_and_si512(_mm512_srli_epi32(header[g], 4), low);
        TERN_UNROLL
        for (int i = 0; i < 2; ++i) store(out.min[2 * g + i], byte_pair_of(min, i));
    }
    TERN_UNROLL
    for (size_t c = 0; c < 4; ++c) {
        __m512i o[4];
        load_transposed(p + 16 + 16 * c, stride, o);
        TERN_UNROLL
        for (size_t s = 0; s < 4; ++s) {
            const size_t group = c / 2 * 8 + s * 2 + c % 2;
            const ByteScale scale(_mm512_and_si512(header[group / 4], low), group % 4);
            TERN_UNROLL
            for (size_t i = 0; i < 4; ++i)
                store(out.q[group * 4 + i],
                      scale.times(_mm512_and_si512(_mm512_srli_epi32(o[i], static_cast<unsigned>(2 * s)), k3)));
        }
    }
}

// (q - 4) * scale lies between -4 * 31 and -4 * -32: 253 values.
constexpr int kBiasQ3_K = 124;

void pack_q3_k(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    // Bytes 94 to 109: the last two of qs, the scales, d. Two shifts bring the scales to dwords of their own.
    __m512i t[4], packed[3], scale[4];
    load_transposed(p + 94, stride, t);
    TERN_UNROLL
    for (int i = 0; i < 3; ++i)
        packed[i] = _mm512_or_si512(_mm512_srli_epi32(t[i], 16), _mm512_slli_epi32(t[i + 1], 16));
    _mm512_store_ps(out.d[0], high_halves(t[3]));
    const __m512i low = bytes(0x0f), k30 = bytes(0x30), k3 = bytes(3), k4 = bytes(4);
    scale[0] = or_and(_mm512_and_si512(packed[0], low), _mm512_slli_epi32(packed[2], 4), k30);
    scale[1] = or_and(_mm512_and_si512(packed[1], low), _mm512_slli_epi32(packed[2], 2), k30);
    scale[2] = or_and(_mm512_and_si512(_mm512_srli_epi32(packed[0], 4), low), packed[2], k30);
    scale[3] = or_and(_mm512_and_si512(_mm512_srli_epi32(packed[1], 4), low), _mm512_srli_epi32(packed[2], 2), k30);
    TERN_UNROLL
    for (int j = 0; j < 4; ++j) scale[j] = _mm512_sub_epi8(scale[j], bytes(32));
    // (q - 4) * scale + bias, modulo 256.
    const __m512i bias = bytes(kBiasQ3_K);
    TERN_UNROLL
    for (size_t half = 0; half < 2; ++half) {
        __m512i high[4];
        load_transposed(p + 16 * half, stride, high);
        TERN_UNROLL
        for (size_t n = 0; n < 2; ++n) {
            __m512i o[4];
            load_transposed(p + 32 + 32 * n + 16 * half, stride, o);
            TERN_UNROLL
            for (size_t s = 0; s < 4; ++s) {
                const size_t group = n * 8 + s * 2 + half;
                const ByteScale by(scale[group / 4], group % 4);
                const __m512i twice = _mm512_add_epi8(by.all, by.all);
                const __m512i offset = _mm512_sub_epi8(bias, _mm512_add_epi8(twice, twice));
                TERN_UNROLL
                for (size_t i = 0; i < 4; ++i) {
                    const unsigned bit = static_cast<unsigned>(4 * n + s);
                    const __m512i third = bit < 2 ? _mm512_slli_epi32(high[i], 2 - bit)
                                                  : _mm512_srli_epi32(high[i], bit - 2);
                    const __m512i two = _mm512_and_si512(_mm512_srli_epi32(o[i], static_cast<unsigned>(2 * s)), k3);
                    store(out.q[group * 4 + i], _mm512_add_epi8(by.times(or_and(two, third, k4)), offset));
                }
            }
        }
    }
}

void pack_iq4_xs(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    __m512i t[4];
    load_transposed(p, stride, t);
    _mm512_store_ps(out.d[0], low_halves(t[0]));
    TERN_UNROLL
    for (unsigned j = 0; j < 8; ++j) {
        const __m512i low = _mm512_and_si512(_mm512_srli_epi32(t[1], 4 * j), _mm512_set1_epi32(15));
        const __m512i high = _mm512_and_si512(_mm512_srli_epi32(t[0], 16 + 2 * j), _mm512_set1_epi32(3));
        store(out.scale[j], _mm512_sub_epi32(_mm512_or_si512(low, _mm512_slli_epi32(high, 4)),
                                             _mm512_set1_epi32(32)));
    }
    const __m512i table = iq4_table(), low = bytes(0x0f);
    TERN_UNROLL
    for (size_t j = 0; j < 8; ++j) {
        __m512i o[4];
        load_transposed(p + 8 + 16 * j, stride, o);
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            store(out.q[j * 8 + i], _mm512_shuffle_epi8(table, _mm512_and_si512(o[i], low)));
            store(out.q[j * 8 + 4 + i],
                  _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(o[i], 4), low)));
        }
    }
}

// ---- formats of 32 elements --------------------------------------------------------------------------------------

void pack_q8_0(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    for (size_t j = 0; j < blocks; ++j, p += 34) {
        _mm512_store_ps(out.d[j], load_halves(p, stride));
        TERN_UNROLL
        for (size_t half = 0; half < 2; ++half) {
            __m512i o[4];
            load_transposed(p + 2 + 16 * half, stride, o);
            TERN_UNROLL
            for (size_t i = 0; i < 4; ++i)
                store(out.q[j * 8 + half * 4 + i], _mm512_xor_si512(o[i], bytes(0x80)));
        }
    }
}

// Element j in the low half of byte j, element j + 16 in the high half.
TERN_INLINE void load_nibbles(const uint8_t* p, size_t stride, __m512i q[8]) {
    const __m512i low = bytes(0x0f);
    __m512i o[4];
    load_transposed(p, stride, o);
    TERN_UNROLL
    for (int i = 0; i < 4; ++i) {
        q[i] = _mm512_and_si512(o[i], low);
        q[4 + i] = _mm512_and_si512(_mm512_srli_epi32(o[i], 4), low);
    }
}

// The fifth bits of a row stand in one dword: bit j belongs to element j.
TERN_INLINE __m512i add_fifth_bits(__m512i low, __m512i high_bits, int g) {
    const __m512i lanes = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const __m512i byte = _mm512_shuffle_epi8(high_bits, _mm512_or_si512(lanes, bytes(g / 2)));
    const __m512i bits = _mm512_set1_epi32(static_cast<int>(g % 2 ? 0x80402010u : 0x08040201u));
    return _mm512_or_si512(low, _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(byte, bits), bytes(16)));
}

void pack_q4_0(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    for (size_t j = 0; j < blocks; ++j, p += 18) {
        __m512i q[8];
        load_nibbles(p + 2, stride, q);
        _mm512_store_ps(out.d[j], load_halves(p, stride));
        TERN_UNROLL
        for (size_t g = 0; g < 8; ++g) store(out.q[j * 8 + g], q[g]);
    }
}

void pack_q4_1(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    for (size_t j = 0; j < blocks; ++j, p += 20) {
        __m512i q[8];
        load_nibbles(p + 4, stride, q);
        const __m512i header = load_transposed4(p, stride);
        _mm512_store_ps(out.d[j], low_halves(header));
        _mm512_store_ps(out.dmin[j], negate(high_halves(header)));
        TERN_UNROLL
        for (size_t g = 0; g < 8; ++g) store(out.q[j * 8 + g], q[g]);
    }
}

void pack_q5_0(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    for (size_t j = 0; j < blocks; ++j, p += 22) {
        __m512i q[8];
        load_nibbles(p + 6, stride, q);
        const __m512i high = load_transposed4(p + 2, stride);
        _mm512_store_ps(out.d[j], load_halves(p, stride));
        TERN_UNROLL
        for (int g = 0; g < 8; ++g) store(out.q[j * 8 + static_cast<size_t>(g)], add_fifth_bits(q[g], high, g));
    }
}

void pack_q5_1(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    for (size_t j = 0; j < blocks; ++j, p += 24) {
        __m512i q[8];
        load_nibbles(p + 8, stride, q);
        const __m512i header = load_transposed4(p, stride), high = load_transposed4(p + 4, stride);
        _mm512_store_ps(out.d[j], low_halves(header));
        _mm512_store_ps(out.dmin[j], negate(high_halves(header)));
        TERN_UNROLL
        for (int g = 0; g < 8; ++g) store(out.q[j * 8 + static_cast<size_t>(g)], add_fifth_bits(q[g], high, g));
    }
}

void pack_iq4_nl(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    const __m512i table = iq4_table();
    for (size_t j = 0; j < blocks; ++j, p += 18) {
        __m512i q[8];
        load_nibbles(p + 2, stride, q);
        _mm512_store_ps(out.d[j], load_halves(p, stride));
        TERN_UNROLL
        for (size_t g = 0; g < 8; ++g) store(out.q[j * 8 + g], _mm512_shuffle_epi8(table, q[g]));
    }
}

void pack_mxfp4(const uint8_t* p, size_t stride, size_t blocks, const FormatOps&, Panel& out) {
    const __m512i table = e2m1_table();
    for (size_t j = 0; j < blocks; ++j, p += 17) {
        __m512i q[8];
        load_nibbles(p + 1, stride, q);
        alignas(64) uint32_t e[kLanes];
        TERN_UNROLL
        for (size_t r = 0; r < kLanes; ++r) e[r] = p[r * stride];
        _mm512_store_ps(out.d[j], e8m0_half(_mm512_load_si512(e)));
        TERN_UNROLL
        for (size_t g = 0; g < 8; ++g) store(out.q[j * 8 + g], _mm512_shuffle_epi8(table, q[g]));
    }
}

}  // namespace

const PanelFormat kPanelQ4_0 = {32, 18, 8, &kTiles32, pack_q4_0};
const PanelFormat kPanelQ4_1 = {32, 20, 0, &kTiles32Min, pack_q4_1};
const PanelFormat kPanelQ5_0 = {32, 22, 16, &kTiles32, pack_q5_0};
const PanelFormat kPanelQ5_1 = {32, 24, 0, &kTiles32Min, pack_q5_1};
const PanelFormat kPanelQ8_0 = {32, 34, 128, &kTiles32, pack_q8_0};
const PanelFormat kPanelIQ4_NL = {32, 18, 128, &kTiles32, pack_iq4_nl};
const PanelFormat kPanelMXFP4 = {32, 17, 12, &kTiles32, pack_mxfp4};
const PanelFormat kPanelQ2_K = {256, 84, 0, &kTiles256Applied16Min, pack_q2_k};
const PanelFormat kPanelQ3_K = {256, 110, kBiasQ3_K, &kTiles256AppliedBias, pack_q3_k};
const PanelFormat kPanelQ4_K = {256, 144, 0, &kTiles256Halves, pack_q4_k};
const PanelFormat kPanelQ5_K = {256, 176, 0, &kTiles256Min8, pack_q5_k};
const PanelFormat kPanelQ6_K = {256, 210, 32, &kTiles256Bias16, pack_q6_k};
const PanelFormat kPanelIQ4_XS = {256, 136, 128, &kTiles256Bias8, pack_iq4_xs};

}  // namespace tern::kernels::avx512
