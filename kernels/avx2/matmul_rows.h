// One superblock of one row as small integers in natural order: what the panels, and the products of formats without
// code of their own for few tokens, start from. One unpacker per format; kernels/formats/<format>.h describes the blocks.
#pragma once

#include "kernels/avx2/matmul_common.h"

namespace tern::kernels {

struct alignas(32) Row {
    uint8_t q[256];     // q + bias, at most 127, or int8 where the format is `is_signed`
    int16_t scale[16];  // per 16 elements; formats of 32 elements leave it alone
    int16_t min[16];    // formats of 256 with minimums only
    float d[8];         // per block
    float dmin[8];      // per block; value = d * scale * q - dmin * min (formats of 32: min = 1)
};

struct RowFormat {
    size_t block, block_bytes;
    // `blocks` blocks of a format of 32 elements, one of a format of 256.
    void (*unpack)(const uint8_t* p, size_t blocks, const FormatOps& ops, Row& out);
};

TERN_INLINE __m256i shift_right(__m256i v, int n) { return _mm256_srli_epi16(v, n); }
TERN_INLINE __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, bytes(0x0f)); }
TERN_INLINE __m256i high_nibbles(__m256i v) { return _mm256_and_si256(shift_right(v, 4), bytes(0x0f)); }
// Bit n of each byte, moved to bit `to`.
TERN_INLINE __m256i bit_to(__m256i v, int n, int to) {
    const __m256i moved = n < to ? _mm256_slli_epi16(v, to - n) : _mm256_srli_epi16(v, n - to);
    return _mm256_and_si256(moved, bytes(1 << to));
}

// ---- formats of 256 elements -------------------------------------------------------------------------------------

// Eight bytes to sixteen int16, each byte twice.
TERN_INLINE void store_doubled(int16_t* out, uint32_t low, uint32_t high) {
    const __m128i v = _mm_set_epi32(0, 0, static_cast<int>(high), static_cast<int>(low));
    store32(out, _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(v, v)));
}

TERN_INLINE void unpack_k_header(const uint8_t* p, Row& out) {
    out.d[0] = half_to_float(p);
    out.dmin[0] = half_to_float(p + 2);
    const uint32_t a = load_u32(p + 4), b = load_u32(p + 8), c = load_u32(p + 12);
    store_doubled(out.scale, a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030));
    store_doubled(out.min, b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030));
}

static inline void unpack_q4_k(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    unpack_k_header(p, out);
    TERN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m256i v = load32(p + 16 + 32 * i);
        store32(out.q + 64 * i, low_nibbles(v));
        store32(out.q + 64 * i + 32, high_nibbles(v));
    }
}

static inline void unpack_q5_k(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    unpack_k_header(p, out);
    const __m256i high = load32(p + 16);
    TERN_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m256i v = load32(p + 48 + 32 * i);
        store32(out.q + 64 * i, _mm256_or_si256(low_nibbles(v), bit_to(high, 2 * i, 4)));
        store32(out.q + 64 * i + 32, _mm256_or_si256(high_nibbles(v), bit_to(high, 2 * i + 1, 4)));
    }
}

static inline void unpack_q6_k(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    const __m256i k30 = bytes(0x30);
    TERN_UNROLL
    for (int h = 0; h < 2; ++h) {
        const __m256i a = load32(p + 64 * h), b = load32(p + 64 * h + 32), c = load32(p + 128 + 32 * h);
        uint8_t* q = out.q + 128 * h;
        store32(q, _mm256_or_si256(low_nibbles(a), _mm256_and_si256(_mm256_slli_epi16(c, 4), k30)));
        store32(q + 32, _mm256_or_si256(low_nibbles(b), _mm256_and_si256(_mm256_slli_epi16(c, 2), k30)));
        store32(q + 64, _mm256_or_si256(high_nibbles(a), _mm256_and_si256(c, k30)));
        store32(q + 96, _mm256_or_si256(high_nibbles(b), _mm256_and_si256(shift_right(c, 2), k30)));
    }
    store32(out.scale, _mm256_cvtepi8_epi16(load16(p + 192)));
    out.d[0] = half_to_float(p + 208);
}

static inline void unpack_q2_k(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    const __m128i header = load16(p), low = _mm_set1_epi8(0x0f);
    store32(out.scale, _mm256_cvtepu8_epi16(_mm_and_si128(header, low)));
    store32(out.min, _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(header, 4), low)));
    TERN_UNROLL
    for (int h = 0; h < 2; ++h) {
        const __m256i v = load32(p + 16 + 32 * h);
        TERN_UNROLL
        for (int s = 0; s < 4; ++s)
            store32(out.q + 128 * h + 32 * s, _mm256_and_si256(shift_right(v, 2 * s), bytes(3)));
    }
    out.d[0] = half_to_float(p + 80);
    out.dmin[0] = half_to_float(p + 82);
}

static inline void unpack_q3_k(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    const __m256i high = load32(p);
    TERN_UNROLL
    for (int h = 0; h < 2; ++h) {
        const __m256i v = load32(p + 32 + 32 * h);
        TERN_UNROLL
        for (int s = 0; s < 4; ++s) {
            const __m256i two = _mm256_and_si256(shift_right(v, 2 * s), bytes(3));
            store32(out.q + 128 * h + 32 * s, _mm256_or_si256(two, bit_to(high, 4 * h + s, 2)));
        }
    }
    const uint32_t a = load_u32(p + 96), b = load_u32(p + 100), c = load_u32(p + 104);
    const uint32_t low = 0x0f0f0f0f, top = 0x30303030;
    const __m128i scale = _mm_setr_epi32(static_cast<int>((a & low) | (c << 4 & top)),
                                         static_cast<int>((b & low) | (c << 2 & top)),
                                         static_cast<int>((a >> 4 & low) | (c & top)),
                                         static_cast<int>((b >> 4 & low) | (c >> 2 & top)));
    store32(out.scale, _mm256_cvtepi8_epi16(_mm_sub_epi8(scale, _mm_set1_epi8(32))));
    out.d[0] = half_to_float(p + 108);
}

// The values of IQ4_NL and IQ4_XS (kernels/formats/iq4_nl.h).
TERN_INLINE __m256i iq4_table() {
    return _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
}

// Element j in the low half of byte j, element j + 16 in the high half.
TERN_INLINE __m256i nibbles32(const uint8_t* p) {
    const __m128i v = load16(p);
    return low_nibbles(_mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1));
}

static inline void unpack_iq4_xs(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p);
    const uint32_t high = load_u32(p) >> 16, low = load_u32(p + 4);
    for (unsigned j = 0; j < 8; ++j) {
        const int scale = static_cast<int>((low >> (4 * j) & 15) | (high >> (2 * j) & 3) << 4) - 32;
        out.scale[2 * j] = out.scale[2 * j + 1] = static_cast<int16_t>(scale);
    }
    TERN_UNROLL
    for (int j = 0; j < 8; ++j)
        store32(out.q + 32 * j, _mm256_shuffle_epi8(iq4_table(), nibbles32(p + 8 + 16 * j)));
}

// ---- formats of 32 elements --------------------------------------------------------------------------------------

static inline void unpack_q8_0(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += 34) {
        out.d[j] = half_to_float(p);
        store32(out.q + 32 * j, load32(p + 2));
    }
}

static inline void unpack_q4_0(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += 18) {
        out.d[j] = half_to_float(p);
        store32(out.q + 32 * j, nibbles32(p + 2));
    }
}

static inline void unpack_q4_1(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += 20) {
        out.d[j] = half_to_float(p);
        out.dmin[j] = -half_to_float(p + 2);
        store32(out.q + 32 * j, nibbles32(p + 4));
    }
}

// Bit j of the four bytes to bit 4 of byte j.
TERN_INLINE __m256i fifth_bits(const uint8_t* p) {
    const __m256i index = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bits = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    const __m256i spread = _mm256_shuffle_epi8(broadcast4(p), index);
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits), bytes(16));
}

static inline void unpack_q5_0(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += 22) {
        out.d[j] = half_to_float(p);
        store32(out.q + 32 * j, _mm256_or_si256(nibbles32(p + 6), fifth_bits(p + 2)));
    }
}

static inline void unpack_q5_1(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += 24) {
        out.d[j] = half_to_float(p);
        out.dmin[j] = -half_to_float(p + 2);
        store32(out.q + 32 * j, _mm256_or_si256(nibbles32(p + 8), fifth_bits(p + 4)));
    }
}

static inline void unpack_iq4_nl(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    for (size_t j = 0; j < blocks; ++j, p += 18) {
        out.d[j] = half_to_float(p);
        store32(out.q + 32 * j, _mm256_shuffle_epi8(iq4_table(), nibbles32(p + 2)));
    }
}

// Twice the values of E2M1 plus 12.
TERN_INLINE __m256i e2m1_table() {
    return _mm256_broadcastsi128_si256(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
}
// 2^(e - 128), half of the E8M0 scale, because the values are doubled: subnormal for e < 2; NaN for e = 255.
TERN_INLINE __m256 e8m0_half(__m256i e) {
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i v = _mm256_blendv_epi8(normal, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e));
    const __m256i nan = _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255));
    return _mm256_castsi256_ps(_mm256_blendv_epi8(v, _mm256_set1_epi32(0x7fc00000), nan));
}

static inline void unpack_mxfp4(const uint8_t* p, size_t blocks, const FormatOps&, Row& out) {
    alignas(32) int32_t e[8] = {};
    for (size_t j = 0; j < blocks; ++j, p += 17) {
        e[j] = p[0];
        store32(out.q + 32 * j, _mm256_shuffle_epi8(e2m1_table(), nibbles32(p + 1)));
    }
    _mm256_store_ps(out.d, e8m0_half(load32(e)));
}

[[maybe_unused]] static constexpr RowFormat kRowQ4_0 = {32, 18, unpack_q4_0};
[[maybe_unused]] static constexpr RowFormat kRowQ4_1 = {32, 20, unpack_q4_1};
[[maybe_unused]] static constexpr RowFormat kRowQ5_0 = {32, 22, unpack_q5_0};
[[maybe_unused]] static constexpr RowFormat kRowQ5_1 = {32, 24, unpack_q5_1};
[[maybe_unused]] static constexpr RowFormat kRowQ8_0 = {32, 34, unpack_q8_0};
[[maybe_unused]] static constexpr RowFormat kRowIQ4_NL = {32, 18, unpack_iq4_nl};
[[maybe_unused]] static constexpr RowFormat kRowMXFP4 = {32, 17, unpack_mxfp4};
[[maybe_unused]] static constexpr RowFormat kRowQ2_K = {256, 84, unpack_q2_k};
[[maybe_unused]] static constexpr RowFormat kRowQ3_K = {256, 110, unpack_q3_k};
[[maybe_unused]] static constexpr RowFormat kRowQ4_K = {256, 144, unpack_q4_k};
[[maybe_unused]] static constexpr RowFormat kRowQ5_K = {256, 176, unpack_q5_k};
[[maybe_unused]] static constexpr RowFormat kRowQ6_K = {256, 210, unpack_q6_k};
[[maybe_unused]] static constexpr RowFormat kRowIQ4_XS = {256, 136, unpack_iq4_xs};

}  // namespace tern::kernels
