// IQ1, IQ2 and IQ3, TQ1_0, TQ2_0 and Q8_K. One routine per format turns a block into vectors of bytes; the products of
// few tokens and the packer of panels both start from them. kernels/formats/<format>.h describes the blocks.
//
// The codebooks are read by gathers: 32 entries of eight bytes take 6.0 ns on a Xeon of the Emerald Rapids generation,
// and 7.5 ns at best when loaded one by one (64 entries of four: 12.0 and 14.7 ns).
#include "kernels/avx512/matmul_pack.h"
#include "kernels/avx512/matmul_stream.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels::avx512 {
namespace {

TERN_INLINE __m512i load64(const void* p) { return _mm512_loadu_si512(p); }
// Loaded once: as an operand of every instruction that takes it, it would cross a cache line as often.
TERN_INLINE __m512i load64_once(const void* p) {
    __m512i v = load64(p);
    __asm__("" : "+v"(v));
    return v;
}
TERN_INLINE __m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
TERN_INLINE int32_t load_i32(const void* p) {
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}
TERN_INLINE int64_t load_i64(const void* p) {
    int64_t v;
    memcpy(&v, p, 8);
    return v;
}
TERN_INLINE __mmask16 load_mask16(const void* p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return static_cast<__mmask16>(v);
}
TERN_INLINE __mmask64 load_mask64(const void* p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return static_cast<__mmask64>(v);
}

// A block as its format's load() leaves it: bytes, and for signed formats which of them are negative. The formats put
// the elements where they come cheapest; natural(j) tells which four elements dword j of the 64 holds.
struct Bytes {
    __m512i q[4];
    __mmask64 negative[4];
};

// Stored scales to odd integers.
TERN_INLINE __m128i odd16(__m128i v) { return _mm_or_si128(_mm_add_epi16(v, v), _mm_set1_epi16(1)); }
TERN_INLINE __m256i odd16(__m256i v) { return _mm256_or_si256(_mm256_add_epi16(v, v), _mm256_set1_epi16(1)); }

// Eight bytes, the scale of group 2i in the low half of byte i, of 2i + 1 in the high half.
TERN_INLINE __m256i nibble_scales(const uint8_t* p) {
    const __m128i v = load8(p), low = _mm_set1_epi8(0x0f);
    const __m128i pairs = _mm_unpacklo_epi8(_mm_and_si128(v, low), _mm_and_si128(_mm_srli_epi16(v, 4), low));
    return odd16(_mm256_cvtepu8_epi16(pairs));
}

// The eighth sign bit of each byte, which makes the number of ones even; the bytes hold seven.
TERN_INLINE __m512i complete_signs(__m512i v) {
    const char k = static_cast<char>(0x80);
    const __m512i parity = _mm512_broadcast_i32x4(_mm_setr_epi8(0, k, k, 0, k, 0, 0, k, k, 0, 0, k, 0, k, k, 0));
    const __m512i half = _mm512_ternarylogic_epi32(v, _mm512_srli_epi16(v, 4), bytes(0x0f), 0x28);  // (a ^ b) & c
    return _mm512_or_si512(v, _mm512_shuffle_epi8(parity, half));
}
// Four signs of 7 bits in each dword to four bytes.
TERN_INLINE __m512i signs_of_words(__m512i v) {
    const __m512i halves = or_and(_mm512_and_si512(v, _mm512_set1_epi32(0x3fff)), _mm512_slli_epi32(v, 2),
                                  _mm512_set1_epi32(0x3fff0000));
    return complete_signs(or_and(_mm512_and_si512(halves, _mm512_set1_epi32(0x007f007f)),
                                 _mm512_slli_epi32(halves, 1), _mm512_set1_epi32(0x7f007f00)));
}
// Byte n of each qword as a mask of the qword's eight bytes.
TERN_INLINE __mmask64 signs_of_byte(__m512i v, int n) {
    const __m512i lanes = _mm512_set4_epi32(0x08080808, 0x08080808, 0, 0);
    const __m512i spread = _mm512_shuffle_epi8(v, _mm512_or_si512(lanes, bytes(n)));
    return _mm512_test_epi8_mask(spread, _mm512_set1_epi64(static_cast<int64_t>(0x8040201008040201u)));
}

// Formats with groups of eight whose vector n holds groups 4l + n, l being the qword.
constexpr size_t natural_qwords(size_t j) { return 2 * (4 * (j / 2 % 8) + j / 16) + j % 2; }

TERN_INLINE __m512i gather8(const int8_t (*grid)[8], __m512i index) { return _mm512_i64gather_epi64(index, grid, 8); }
TERN_INLINE __m512i gather8(const int8_t (*grid)[8], __m256i index) { return _mm512_i32gather_epi64(index, grid, 8); }
TERN_INLINE __m512i gather4(const int8_t (*grid)[4], __m512i index) { return _mm512_i32gather_epi32(index, grid, 4); }

TERN_INLINE __m512 scaled_halves(const uint8_t* p, size_t stride, float factor) {
    return _mm512_mul_ps(load_halves(p, stride), _mm512_set1_ps(factor));
}

// ---- the formats -------------------------------------------------------------------------------------------------
// kGroups: how many scales a block has, 0 if none. kSigned: the bytes are magnitudes, with a mask of signs, and kBias is
// what the packer adds; otherwise the bytes are q + kBias.

struct IQ2_XXS {
    static constexpr size_t kBytes = 66, kGroups = 8;
    static constexpr int kBias = 64;
    static constexpr bool kSigned = true;
    static constexpr size_t natural(size_t j) { return natural_qwords(j); }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i v = load64_once(p + 2), signs = signs_of_words(v);
        Bytes b;
        TERN_UNROLL
        for (int n = 0; n < 4; ++n) {
            const __m512i index = _mm512_srli_epi64(v, static_cast<unsigned>(8 * n));
            b.q[n] = gather8(kIqGrids.iq2_xxs, _mm512_and_si512(index, _mm512_set1_epi64(255)));
            b.negative[n] = signs_of_byte(signs, 4 + n);
        }
        return b;
    }
    TERN_INLINE __m128i scales(const uint8_t* p) {
        return odd16(_mm512_cvtepi64_epi16(_mm512_srli_epi64(load64(p + 2), 60)));
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return scaled_halves(p, stride, 0.125f); }
};

struct IQ2_XS {
    static constexpr size_t kBytes = 74, kGroups = 16;
    static constexpr int kBias = 64;
    static constexpr bool kSigned = true;
    static constexpr size_t natural(size_t j) { return natural_qwords(j); }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i v = load64_once(p + 2), signs = complete_signs(_mm512_srli_epi16(v, 9));
        Bytes b;
        TERN_UNROLL
        for (int n = 0; n < 4; ++n) {
            const __m512i index = _mm512_srli_epi64(v, static_cast<unsigned>(16 * n));
            b.q[n] = gather8(kIqGrids.iq2_xs, _mm512_and_si512(index, _mm512_set1_epi64(511)));
            b.negative[n] = signs_of_byte(signs, 2 * n);
        }
        return b;
    }
    TERN_INLINE __m256i scales(const uint8_t* p) { return nibble_scales(p + 66); }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return scaled_halves(p, stride, 0.125f); }
};

struct IQ2_S {
    static constexpr size_t kBytes = 82, kGroups = 16;
    static constexpr int kBias = 64;
    static constexpr bool kSigned = true;
    static constexpr size_t natural(size_t j) { return j; }
    TERN_INLINE Bytes load(const uint8_t* p) {
        // The two high bits of 16 groups stand in a dword; each lane turns its own to bits 8 and 9.
        const __m512i turn = _mm512_setr_epi32(8, 6, 4, 2, 0, 30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10);
        Bytes b;
        TERN_UNROLL
        for (int h = 0; h < 2; ++h) {
            const __m512i high = _mm512_rolv_epi32(_mm512_set1_epi32(load_i32(p + 66 + 4 * h)), turn);
            const __m512i index = or_and(_mm512_cvtepu8_epi32(load16(p + 2 + 16 * h)), high, _mm512_set1_epi32(0x300));
            b.q[2 * h] = gather8(kIqGrids.iq2_s, _mm512_castsi512_si256(index));
            b.q[2 * h + 1] = gather8(kIqGrids.iq2_s, _mm512_extracti64x4_epi64(index, 1));
        }
        TERN_UNROLL
        for (int v = 0; v < 4; ++v) b.negative[v] = load_mask64(p + 34 + 8 * v);
        return b;
    }
    TERN_INLINE __m256i scales(const uint8_t* p) { return nibble_scales(p + 74); }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return scaled_halves(p, stride, 0.125f); }
};

struct IQ3_XXS {
    static constexpr size_t kBytes = 98, kGroups = 8;
    static constexpr int kBias = 64;
    static constexpr bool kSigned = true;
    static constexpr size_t natural(size_t j) { return j; }
    TERN_INLINE Bytes load(const uint8_t* p) {
        alignas(64) uint64_t signs[8];
        _mm512_store_si512(signs, signs_of_words(_mm512_zextsi256_si512(load32(p + 66))));
        Bytes b;
        TERN_UNROLL
        for (int v = 0; v < 4; ++v) {
            b.q[v] = gather4(kIqGrids.iq3_xxs, _mm512_cvtepu8_epi32(load16(p + 2 + 16 * v)));
            b.negative[v] = static_cast<__mmask64>(signs[v]);
        }
        return b;
    }
    TERN_INLINE __m128i scales(const uint8_t* p) {
        return odd16(_mm256_cvtepi32_epi16(_mm256_srli_epi32(load32(p + 66), 28)));
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return scaled_halves(p, stride, 0.25f); }
};

struct IQ3_S {
    static constexpr size_t kBytes = 110, kGroups = 8;
    static constexpr int kBias = 64;
    static constexpr bool kSigned = true;
    static constexpr size_t natural(size_t j) { return j; }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i high = _mm512_set1_epi32(256);
        Bytes b;
        TERN_UNROLL
        for (int v = 0; v < 4; ++v) {
            const __m512i low = _mm512_cvtepu8_epi32(load16(p + 2 + 16 * v));
            b.q[v] = gather4(kIqGrids.iq3_s, _mm512_mask_or_epi32(low, load_mask16(p + 66 + 2 * v), low, high));
            b.negative[v] = load_mask64(p + 74 + 8 * v);
        }
        return b;
    }
    TERN_INLINE __m128i scales(const uint8_t* p) {
        const __m128i words = _mm_shuffle_epi8(_mm_cvtsi32_si128(load_i32(p + 106)),
                                               _mm_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3));
        const __m128i own = _mm_srlv_epi16(words, _mm_setr_epi16(0, 4, 8, 12, 0, 4, 8, 12));
        return odd16(_mm_and_si128(own, _mm_set1_epi16(15)));
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return load_halves(p, stride); }
};

// 8 * (grid + 1), and 2 more where the shift is positive.
TERN_INLINE __m512i iq1_bytes(__m512i grid, __mmask8 positive) {
    // -1 has the top bit, which makes a zero.
    const __m512i v = _mm512_shuffle_epi8(_mm512_set1_epi32(0x1008), grid);
    return _mm512_mask_add_epi64(v, positive, v, bytes(2));
}

struct IQ1_S {
    static constexpr size_t kBytes = 50, kGroups = 8;
    static constexpr int kBias = 9;
    static constexpr bool kSigned = false;
    static constexpr size_t natural(size_t j) { return natural_qwords(j); }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i low = _mm512_cvtepu32_epi64(load32(p + 2)), high = _mm512_cvtepu16_epi64(load16(p + 34));
        const __mmask8 positive = _mm512_testn_epi64_mask(high, _mm512_set1_epi64(0x8000));
        Bytes b;
        TERN_UNROLL
        for (int n = 0; n < 4; ++n) {
            const __m512i own = _mm512_and_si512(_mm512_srli_epi64(low, static_cast<unsigned>(8 * n)),
                                                 _mm512_set1_epi64(255));
            const __m512i top = n < 3 ? _mm512_slli_epi64(high, static_cast<unsigned>(8 - 3 * n))
                                      : _mm512_srli_epi64(high, 1);
            b.q[n] = iq1_bytes(gather8(kIqGrids.iq1, or_and(own, top, _mm512_set1_epi64(0x700))), positive);
        }
        return b;
    }
    TERN_INLINE __m128i scales(const uint8_t* p) {
        const __m128i v = _mm_srli_epi16(load16(p + 34), 11);
        return _mm_or_si128(_mm_and_si128(v, _mm_set1_epi16(14)), _mm_set1_epi16(1));
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return scaled_halves(p, stride, 0.125f); }
};

struct IQ1_M {
    static constexpr size_t kBytes = 56, kGroups = 16;
    static constexpr int kBias = 9;
    static constexpr bool kSigned = false;
    static constexpr size_t natural(size_t j) { return natural_qwords(j); }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i low = _mm512_cvtepu32_epi64(load32(p)), high = _mm512_cvtepu16_epi64(load16(p + 32));
        Bytes b;
        TERN_UNROLL
        for (int n = 0; n < 4; ++n) {
            const __m512i own = _mm512_and_si512(_mm512_srli_epi64(low, static_cast<unsigned>(8 * n)),
                                                 _mm512_set1_epi64(255));
            const __m512i top = n < 2 ? _mm512_slli_epi64(high, static_cast<unsigned>(8 - 4 * n))
                                      : _mm512_srli_epi64(high, static_cast<unsigned>(4 * n - 8));
            const __mmask8 positive = _mm512_testn_epi64_mask(top, _mm512_set1_epi64(0x800));
            b.q[n] = iq1_bytes(gather8(kIqGrids.iq1, or_and(own, top, _mm512_set1_epi64(0x700))), positive);
        }
        return b;
    }
    TERN_INLINE __m256i scales(const uint8_t* p) {
        const __m256i words = _mm256_shuffle_epi8(
            _mm256_set1_epi64x(load_i64(p + 48)),
            _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6,
                             7));
        const __m256i own = _mm256_srlv_epi16(words, _mm256_set1_epi64x(0x0009000600030000));
        return odd16(_mm256_and_si256(own, _mm256_set1_epi16(7)));
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) {
        __m512i t[4];
        load_transposed(p + 40, stride, t);  // the scales are the upper half
        const __m512i digit = _mm512_set1_epi32(15);
        __m512i half = _mm512_and_si512(_mm512_srli_epi32(t[2], 12), digit);
        half = or_and(half, _mm512_srli_epi32(t[2], 24), _mm512_slli_epi32(digit, 4));
        half = or_and(half, _mm512_srli_epi32(t[3], 4), _mm512_slli_epi32(digit, 8));
        half = or_and(half, _mm512_srli_epi32(t[3], 16), _mm512_slli_epi32(digit, 12));
        return _mm512_mul_ps(low_halves(half), _mm512_set1_ps(0.125f));
    }
};

struct TQ2_0 {
    static constexpr size_t kBytes = 66, kGroups = 0;
    static constexpr int kBias = 1;
    static constexpr bool kSigned = false;
    static constexpr size_t natural(size_t j) { return 8 * (j / 16) + j % 8 + 32 * (j / 8 % 2); }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i v = load64_once(p);
        Bytes b;
        TERN_UNROLL
        for (int n = 0; n < 4; ++n)
            b.q[n] = _mm512_and_si512(_mm512_srli_epi16(v, static_cast<unsigned>(2 * n)), bytes(3));
        return b;
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return load_halves(p + 64, stride); }
};

struct TQ1_0 {
    static constexpr size_t kBytes = 54, kGroups = 0;
    static constexpr int kBias = 1;
    static constexpr bool kSigned = false;
    // Vector n holds digit n of the 48 bytes, and in its last lane what is left: all digits of the last four bytes,
    // then the fifth digits of 16 bytes each.
    static constexpr size_t natural(size_t j) {
        constexpr size_t kLast[4] = {60, 32, 36, 56};
        const size_t n = j / 16, i = j % 16;
        return i < 8 ? 8 * n + i : i < 12 ? 40 + 4 * n + i - 8 : kLast[n] + i - 12;
    }
    // floor(3 * v / 256): 0, 1 from 86 on, 2 from 171 on.
    TERN_INLINE __m512i digit(__m512i v) {
        const __m512i one = bytes(1);
        return _mm512_add_epi8(_mm512_min_epu8(_mm512_subs_epu8(v, bytes(85)), one),
                               _mm512_min_epu8(_mm512_subs_epu8(v, bytes(170)), one));
    }
    TERN_INLINE Bytes load(const uint8_t* p) {
        const __m512i first = _mm512_inserti64x4(
            _mm512_castsi256_si512(load32(p)),
            _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p + 32)), _mm_set1_epi32(load_i32(p + 48)), 1), 1);
        auto thrice = [](__m512i v) { return _mm512_add_epi8(_mm512_add_epi8(v, v), v); };
        __m512i f[5];
        f[0] = first;
        TERN_UNROLL
        for (int n = 1; n < 5; ++n) f[n] = thrice(f[n - 1]);
        __m512i last = f[0];
        last = _mm512_mask_mov_epi32(last, 1 << 13, f[1]);
        last = _mm512_mask_mov_epi32(last, 1 << 14, f[2]);
        last = _mm512_mask_mov_epi32(last, 1 << 15, f[3]);
        Bytes b;
        b.q[0] = digit(last);
        b.q[1] = digit(_mm512_mask_shuffle_i64x2(f[1], 0xc0, f[4], f[4], 0x00));
        b.q[2] = digit(_mm512_mask_shuffle_i64x2(f[2], 0xc0, f[4], f[4], 0x55));
        b.q[3] = digit(_mm512_mask_shuffle_i64x2(f[3], 0xc0, f[4], f[4], 0xaa));
        return b;
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return load_halves(p + 52, stride); }
};

struct Q8_K {
    static constexpr size_t kBytes = 292, kGroups = 0;
    static constexpr int kBias = 128;
    static constexpr bool kSigned = false;
    static constexpr size_t natural(size_t j) { return j; }
    TERN_INLINE Bytes load(const uint8_t* p) {
        Bytes b;
        TERN_UNROLL
        for (int n = 0; n < 4; ++n) b.q[n] = _mm512_xor_si512(load64(p + 4 + 64 * n), bytes(0x80));
        return b;
    }
    TERN_INLINE __m512 d(const uint8_t* p, size_t stride) { return _mm512_castsi512_ps(load_transposed4(p, stride)); }
};

// ---- one or two tokens -------------------------------------------------------------------------------------------

template <class Format>
void order(const ActBlock& act, size_t, int8_t* q) {
    TERN_UNROLL
    for (size_t j = 0; j < 64; ++j) memcpy(q + 4 * j, act.q + 4 * Format::natural(j), 4);
}

// Which scale each pair of elements has.
template <class Format>
struct alignas(64) ScaleIndex {
    uint16_t v[4][32];
    constexpr ScaleIndex() : v{} {
        for (size_t i = 0; i < 4; ++i)
            for (size_t j = 0; j < 32; ++j)
                v[i][j] = static_cast<uint16_t>(Format::natural(16 * i + j / 2) * Format::kGroups / 64);
    }
    constexpr bool same(size_t a, size_t b) const {
        for (size_t j = 0; j < 32; ++j)
            if (v[a][j] != v[b][j]) return false;
        return true;
    }
};
template <class Format>
constexpr ScaleIndex<Format> kScaleIndex;

TERN_INLINE __m512i widen(__m256i v) { return _mm512_castsi256_si512(v); }
TERN_INLINE __m512i widen(__m128i v) { return _mm512_castsi128_si512(v); }

TERN_INLINE void store_scales(int16_t* to, __m256i v) { _mm256_store_si256(reinterpret_cast<__m256i*>(to), v); }
TERN_INLINE void store_scales(int16_t* to, __m128i v) { _mm_store_si128(reinterpret_cast<__m128i*>(to), v); }

template <class Format, int kTokens>
void group(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat&, const FormatOps&,
           const StreamOutput* out) {
    constexpr size_t kGroups = Format::kGroups;
    constexpr bool kBiased = !Format::kSigned;
    constexpr bool kShared = kGroups == 0 || (kScaleIndex<Format>.same(0, 1) && kScaleIndex<Format>.same(0, 2) &&
                                              kScaleIndex<Format>.same(0, 3));
    alignas(64) __m512i sums[kTokens][kLanes];
    alignas(64) int16_t scales[kLanes][kBiased && kGroups ? kGroups : 1];
    TERN_NO_UNROLL
    for (size_t i0 = 0; i0 < kLanes; i0 += 2) {
        prefetch_share<2 * Format::kBytes, 1>(w + i0 * Format::kBytes, 0);
        TERN_UNROLL
        for (size_t i = i0; i < i0 + 2; ++i) {
            const uint8_t* p = w + i * Format::kBytes;
            const Bytes b = Format::load(p);
            __m512i scale[4];
            if constexpr (kGroups) {
                const auto own = Format::scales(p);
                if constexpr (kBiased) store_scales(scales[i], own);
                TERN_UNROLL
                for (size_t v = 0; v < (kShared ? 1 : 4); ++v) {
                    const __m512i index = _mm512_load_si512(kScaleIndex<Format>.v[v]);
                    if constexpr (kShared)
                        scale[v] = _mm512_maskz_permutexvar_epi16(0x55555555, index, widen(own));
                    else
                        scale[v] = _mm512_permutexvar_epi16(index, widen(own));
                }
            }
            TERN_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                __m512i a[4];
                TERN_UNROLL
                for (int v = 0; v < 4; ++v) {
                    a[v] = load64(x[t].q + (s + i) * kSuper + 64 * v);
                    if constexpr (Format::kSigned)
                        a[v] = _mm512_mask_sub_epi8(a[v], b.negative[v], _mm512_setzero_si512(), a[v]);
                }
                __m512i even, odd;
                if constexpr (kShared) {
                    even = _mm512_dpbusd_epi32(_mm512_setzero_si512(), b.q[0], a[0]);
                    odd = _mm512_dpbusd_epi32(_mm512_setzero_si512(), b.q[1], a[1]);
                    even = _mm512_add_epi32(_mm512_dpbusd_epi32(even, b.q[2], a[2]),
                                            _mm512_dpbusd_epi32(odd, b.q[3], a[3]));
                    if constexpr (kGroups) even = _mm512_mullo_epi32(even, scale[0]);
                } else {
                    even = _mm512_madd_epi16(_mm512_maddubs_epi16(b.q[0], a[0]), scale[0]);
                    odd = _mm512_madd_epi16(_mm512_maddubs_epi16(b.q[1], a[1]), scale[1]);
                    even = _mm512_dpwssd_epi32(even, _mm512_maddubs_epi16(b.q[2], a[2]), scale[2]);
                    odd = _mm512_dpwssd_epi32(odd, _mm512_maddubs_epi16(b.q[3], a[3]), scale[3]);
                    even = _mm512_add_epi32(even, odd);
                }
                _mm512_store_si512(&sums[t][i], even);
            }
        }
    }
    // bias * scale of groups 2j and 2j + 1; without scales, of 32 elements each.
    constexpr size_t kPairs = kGroups ? kGroups / 2 : 4;
    __m512i bias[kPairs];
    if constexpr (kBiased) {
        const __m512i factor = _mm512_set1_epi16(Format::kBias);
        TERN_UNROLL
        for (size_t c = 0; c < kPairs; c += 4) {
            if constexpr (kGroups)
                load_transposed(reinterpret_cast<const uint8_t*>(scales[0] + 2 * c), sizeof scales[0], bias + c);
            TERN_UNROLL
            for (size_t j = c; j < c + 4; ++j) bias[j] = kGroups ? _mm512_mullo_epi16(bias[j], factor) : factor;
        }
    }
    const __m512 d = Format::d(w, Format::kBytes);
    TERN_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        __m512i sum = reduce16(sums[t]);
        if constexpr (kBiased) {
            __m512i offset = _mm512_setzero_si512();
            TERN_UNROLL
            for (size_t j = 0; j < kPairs; ++j)
                offset = _mm512_dpwssd_epi32(offset, bias[j], load64(x[t].sums + j * x[t].length + s));
            sum = _mm512_sub_epi32(sum, offset);
        }
        _mm512_storeu_ps(out[t].u, _mm512_mul_ps(d, _mm512_cvtepi32_ps(sum)));
    }
}

// ---- panels ------------------------------------------------------------------------------------------------------

template <class Format>
void pack(const uint8_t* p, size_t stride, size_t, const FormatOps&, Panel& out) {
    constexpr size_t kGroups = Format::kGroups ? Format::kGroups : 8;
    alignas(64) uint8_t q[kLanes][kSuper];
    alignas(64) int16_t scales[kLanes][kGroups];
    TERN_NO_UNROLL
    for (size_t r = 0; r < kLanes; ++r) {
        const Bytes b = Format::load(p + r * stride);
        TERN_UNROLL
        for (int v = 0; v < 4; ++v) {
            __m512i u = b.q[v];
            if constexpr (Format::kSigned)
                u = _mm512_mask_sub_epi8(_mm512_add_epi8(u, bytes(Format::kBias)), b.negative[v],
                                         bytes(Format::kBias), u);
            _mm512_store_si512(q[r] + 64 * v, u);
        }
        if constexpr (Format::kGroups) store_scales(scales[r], Format::scales(p + r * stride));
    }
    TERN_UNROLL
    for (size_t c = 0; c < 16; ++c) {
        __m512i o[4];
        load_transposed(q[0] + 16 * c, kSuper, o);
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i) _mm512_store_si512(out.q[Format::natural(4 * c + i)], o[i]);
    }
    TERN_UNROLL
    for (size_t c = 0; c < kGroups; c += 8) {
        __m512i o[4];
        if constexpr (Format::kGroups)
            load_transposed(reinterpret_cast<const uint8_t*>(scales[0] + c), sizeof scales[0], o);
        TERN_UNROLL
        for (size_t i = 0; i < 4; ++i) {
            const __m512i one = _mm512_set1_epi32(1);
            const bool any = Format::kGroups != 0;
            _mm512_store_si512(out.scale[c + 2 * i], any ? _mm512_and_si512(o[i], _mm512_set1_epi32(0xffff)) : one);
            _mm512_store_si512(out.scale[c + 2 * i + 1], any ? _mm512_srli_epi32(o[i], 16) : one);
        }
    }
    _mm512_store_ps(out.d[0], Format::d(p, stride));
}

template <class Format>
constexpr StreamFormat stream() {
    return {kSuper, Format::kBytes, Format::kGroups == 16 ? 16 : 8, false, order<Format>,
            {group<Format, 1>, group<Format, 2>}};
}
template <class Format>
constexpr PanelFormat panel() {
    return {kSuper, Format::kBytes, Format::kBias, Format::kGroups == 16 ? &kTiles256Bias16 : &kTiles256Bias8,
            pack<Format>};
}

}  // namespace

#define TERN_OWN(name)                                     \
    constexpr StreamFormat kStream##name = stream<name>(); \
    constexpr PanelFormat kPanel##name = panel<name>();
TERN_OWN(IQ1_S)
TERN_OWN(IQ1_M)
TERN_OWN(IQ2_XXS)
TERN_OWN(IQ2_XS)
TERN_OWN(IQ2_S)
TERN_OWN(IQ3_XXS)
TERN_OWN(IQ3_S)
TERN_OWN(TQ1_0)
TERN_OWN(TQ2_0)
TERN_OWN(Q8_K)
#undef TERN_OWN

}  // namespace tern::kernels::avx512
