// Unpackers of IQ1, IQ2 and IQ3, TQ1_0, TQ2_0 and Q8_K; kernels/formats/<format>.h describes the blocks.
//
// Entries of the codebooks are loaded one by one: for entries of eight bytes that is as fast as gathers on processors
// whose gathers are fast, and on those that use this folder many are not, by design or by microcode.
#pragma once

#include "kernels/avx2/matmul_single.h"
#include "kernels/formats/iq_grids.h"

namespace tern::kernels {
namespace {

// A constant that stays in a register, or is loaded: compilers make it anew for every vector, with a shuffle each time.
TERN_INLINE __m256i fixed(__m256i v) {
    __asm__("" : "+x"(v));
    return v;
}
// What was stored is loaded again, one index at a time: compilers take shuffles instead.
template <class Array>
TERN_INLINE void through_memory(Array& a) {
    __asm__("" : "+m"(a));
}
TERN_INLINE __m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
TERN_INLINE uint32_t load_u16(const void* p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
// Four entries of eight bytes, eight entries of four. Broadcasts from memory and blends, because every insertion would
// need the one port that shuffles.
TERN_INLINE __m256i all4(const int8_t* p) { return _mm256_set1_epi32(static_cast<int>(load_u32(p))); }
TERN_INLINE __m256i all8(const int8_t* p) { return _mm256_castpd_si256(_mm256_broadcast_sd(reinterpret_cast<const double*>(p))); }
template <class Index>
TERN_INLINE __m256i entries(const int8_t (*grid)[8], const Index* index) {
    const __m128i low = _mm_unpacklo_epi64(load8(grid[index[0]]), load8(grid[index[1]]));
    const __m256i high = _mm256_blend_epi32(all8(grid[index[2]]), all8(grid[index[3]]), 0xc0);
    return _mm256_blend_epi32(_mm256_castsi128_si256(low), high, 0xf0);
}
template <class Index>
TERN_INLINE __m256i entries(const int8_t (*grid)[4], const Index* index) {
    const __m256i a = _mm256_blend_epi32(all4(grid[index[0]]), all4(grid[index[1]]), 0x02);
    const __m256i b = _mm256_blend_epi32(all4(grid[index[2]]), all4(grid[index[3]]), 0x08);
    const __m256i c = _mm256_blend_epi32(all4(grid[index[4]]), all4(grid[index[5]]), 0x20);
    const __m256i d = _mm256_blend_epi32(all4(grid[index[6]]), all4(grid[index[7]]), 0x80);
    return _mm256_blend_epi32(_mm256_blend_epi32(a, b, 0x0c), _mm256_blend_epi32(c, d, 0xc0), 0xf0);
}

// Eight indices: low bytes from memory; `high` holds the other bits of each lane at `mask` after its own shift.
TERN_INLINE void store_indices(uint32_t* to, const uint8_t* low, __m256i high, __m256i shift, __m256i mask) {
    const __m256i bits = _mm256_and_si256(_mm256_srlv_epi32(high, shift), mask);
    store32(to, _mm256_or_si256(_mm256_cvtepu8_epi32(load8(low)), bits));
}

// The eighth sign bit of each byte, which makes the number of ones even; the bytes hold seven.
TERN_INLINE __m256i complete_signs(__m256i v) {
    const char k = static_cast<char>(0x80);
    const __m256i parity =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, k, k, 0, k, 0, 0, k, k, 0, 0, k, 0, k, k, 0));
    const __m256i half = _mm256_and_si256(_mm256_xor_si256(v, _mm256_srli_epi16(v, 4)), bytes(0x0f));
    return _mm256_or_si256(v, _mm256_shuffle_epi8(parity, half));
}
// Four signs of 7 bits in each dword to four bytes.
TERN_INLINE __m256i signs_of_words(__m256i v) {
    const __m256i halves =
        _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0x3fff)),
                        _mm256_and_si256(_mm256_slli_epi32(v, 2), _mm256_set1_epi32(0x3fff0000)));
    return complete_signs(
        _mm256_or_si256(_mm256_and_si256(halves, _mm256_set1_epi32(0x007f007f)),
                        _mm256_and_si256(_mm256_slli_epi32(halves, 1), _mm256_set1_epi32(0x7f007f00))));
}

// 32 magnitudes, negative where the 32 bits say so, plus bias.
struct Signs {
    __m256i index, bits, one, bias;
};
TERN_INLINE Signs signs_with_bias(int bias) {
    return {fixed(_mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303)),
            fixed(_mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u))), fixed(bytes(1)), fixed(bytes(bias))};
}
TERN_INLINE void store_signed(uint8_t* to, __m256i magnitudes, const void* signs, const Signs& k) {
    const __m256i own = _mm256_and_si256(_mm256_shuffle_epi8(broadcast4(signs), k.index), k.bits);
    const __m256i negative = _mm256_or_si256(_mm256_cmpeq_epi8(own, k.bits), k.one);
    store32(to, _mm256_add_epi8(_mm256_sign_epi8(magnitudes, negative), k.bias));
}

// Stored scales to odd integers.
TERN_INLINE __m256i odd16(__m256i v) { return _mm256_or_si256(_mm256_add_epi16(v, v), _mm256_set1_epi16(1)); }
// Eight words, each for two groups.
TERN_INLINE void store_doubled(int16_t* to, __m128i v) {
    store32(to, odd16(_mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi16(v, v)),
                                              _mm_unpackhi_epi16(v, v), 1)));
}
// The top four bits of eight dwords, each for two groups.
TERN_INLINE void store_top_scales(int16_t* to, __m256i v) {
    const __m256i top = _mm256_srli_epi32(v, 28);
    store32(to, odd16(_mm256_or_si256(top, _mm256_slli_epi32(top, 16))));
}
// Eight bytes, the scale of group 2i in the low half of byte i, of 2i + 1 in the high half.
TERN_INLINE void store_nibble_scales(int16_t* to, const uint8_t* p) {
    const __m128i v = load8(p), low = _mm_set1_epi8(0x0f);
    const __m128i pairs = _mm_unpacklo_epi8(_mm_and_si128(v, low), _mm_and_si128(_mm_srli_epi16(v, 4), low));
    store32(to, odd16(_mm256_cvtepu8_epi16(pairs)));
}

// The bias makes the quants unsigned: the largest magnitude of the codebook.
constexpr int kBiasIQ2 = 43, kBiasIQ3_XXS = 62, kBiasIQ3_S = 15, kBiasIQ1 = 9;

void unpack_iq2_xxs(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p) * 0.125f;
    // The words with signs and scale are every other dword.
    const __m256i v = load32(p + 2), w = load32(p + 34);
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(v), _mm256_castsi256_ps(w), 0xdd)), 0xd8);
    store_top_scales(out.scale, words);
    alignas(32) uint32_t signs[8];
    store32(signs, signs_of_words(words));
    through_memory(signs);
    const Signs k = signs_with_bias(kBiasIQ2);
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s)
        store_signed(out.q + 32 * s, entries(kIqGrids.iq2_xxs, p + 2 + 8 * s), signs + s, k);
}

void unpack_iq2_xs(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p) * 0.125f;
    store_nibble_scales(out.scale, p + 66);
    const __m256i v = load32(p + 2), w = load32(p + 34), low = _mm256_set1_epi16(511);
    alignas(32) uint16_t index[32];
    store32(index, _mm256_and_si256(v, low));
    store32(index + 16, _mm256_and_si256(w, low));
    alignas(32) uint32_t signs[8];
    const __m256i packed = _mm256_packus_epi16(_mm256_srli_epi16(v, 9), _mm256_srli_epi16(w, 9));
    store32(signs, complete_signs(_mm256_permute4x64_epi64(packed, 0xd8)));
    through_memory(index);
    through_memory(signs);
    const Signs k = signs_with_bias(kBiasIQ2);
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s)
        store_signed(out.q + 32 * s, entries(kIqGrids.iq2_xs, index + 4 * s), signs + s, k);
}

// High bits of eight indices: `index` brings the bytes of v to bits 8 and above of the lanes that need them.
TERN_INLINE __m256i spread_high(uint32_t v, __m256i index) {
    return _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(v)), index);
}

void unpack_iq2_s(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p) * 0.125f;
    store_nibble_scales(out.scale, p + 74);
    const __m256i spread = _mm256_inserti128_si256(_mm256_set1_epi32(static_cast<int>(0x80800080u)),
                                                   _mm_set1_epi32(static_cast<int>(0x80800180u)), 1);
    const __m256i shift = fixed(_mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    const __m256i mask = fixed(_mm256_set1_epi32(0x300));
    alignas(32) uint32_t index[32];
    TERN_UNROLL
    for (size_t c = 0; c < 4; ++c)
        store_indices(index + 8 * c, p + 2 + 8 * c, spread_high(load_u16(p + 66 + 2 * c), spread), shift, mask);
    through_memory(index);
    const Signs k = signs_with_bias(kBiasIQ2);
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s)
        store_signed(out.q + 32 * s, entries(kIqGrids.iq2_s, index + 4 * s), p + 34 + 4 * s, k);
}

void unpack_iq3_xxs(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p) * 0.25f;
    const __m256i words = load32(p + 66);
    store_top_scales(out.scale, words);
    alignas(32) uint32_t signs[8];
    store32(signs, signs_of_words(words));
    through_memory(signs);
    const Signs k = signs_with_bias(kBiasIQ3_XXS);
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s)
        store_signed(out.q + 32 * s, entries(kIqGrids.iq3_xxs, p + 2 + 8 * s), signs + s, k);
}

void unpack_iq3_s(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p);
    const __m128i pairs = _mm_cvtsi32_si128(static_cast<int>(load_u32(p + 106))), low = _mm_set1_epi8(0x0f);
    store_doubled(out.scale, _mm_cvtepu8_epi16(_mm_unpacklo_epi8(_mm_and_si128(pairs, low),
                                                                 _mm_and_si128(_mm_srli_epi16(pairs, 4), low))));
    const __m256i shift = fixed(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), mask = fixed(_mm256_set1_epi32(0x100));
    // Byte s at bits 8 to 15 of each lane.
    alignas(32) uint32_t index[64];
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s) store_indices(index + 8 * s, p + 2 + 8 * s, broadcast4(p + 65 + s), shift, mask);
    through_memory(index);
    const Signs k = signs_with_bias(kBiasIQ3_S);
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s)
        store_signed(out.q + 32 * s, entries(kIqGrids.iq3_s, index + 8 * s), p + 74 + 4 * s, k);
}

// 8 * (grid + 1), and `more` where the shift is positive.
TERN_INLINE void store_iq1(uint8_t* to, __m256i grid, __m256i table, __m256i more) {
    store32(to, _mm256_add_epi8(_mm256_shuffle_epi8(table, grid), more));
}
// -1 has the top bit, which makes a zero.
TERN_INLINE __m256i iq1_table() { return fixed(_mm256_set1_epi32(0x1008)); }

void unpack_iq1_s(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    out.d[0] = half_to_float(p) * 0.125f;
    const __m128i high = load16(p + 34);
    store_doubled(out.scale, _mm_and_si128(_mm_srli_epi16(high, 12), _mm_set1_epi16(7)));
    const __m256i spread = _mm256_inserti128_si256(_mm256_set1_epi32(static_cast<int>(0x80010080u)),
                                                   _mm_set1_epi32(static_cast<int>(0x80030280u)), 1);
    const __m256i shift = fixed(_mm256_setr_epi32(0, 3, 6, 9, 0, 3, 6, 9));
    const __m256i mask = fixed(_mm256_set1_epi32(0x700));
    alignas(32) uint32_t index[32];
    TERN_UNROLL
    for (size_t c = 0; c < 4; ++c)
        store_indices(index + 8 * c, p + 2 + 8 * c, spread_high(load_u32(p + 34 + 4 * c), spread), shift, mask);
    through_memory(index);
    // Two where the top bit of a word is clear, for the 32 elements of its sub-block.
    alignas(32) uint8_t more[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(more), _mm_andnot_si128(_mm_srai_epi16(high, 15), _mm_set1_epi8(2)));
    through_memory(more);
    const __m256i table = iq1_table();
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s)
        store_iq1(out.q + 32 * s, entries(kIqGrids.iq1, index + 4 * s), table, bytes(more[2 * s]));
}

void unpack_iq1_m(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    uint64_t packed;
    memcpy(&packed, p + 48, 8);
    const uint16_t d = static_cast<uint16_t>((packed >> 12 & 15) | (packed >> 24 & 0xf0) | (packed >> 36 & 0xf00) |
                                             (packed >> 48 & 0xf000));
    out.d[0] = half_to_float(&d) * 0.125f;
    // Scale i of a word stands at bit 3i: multiplied to bits 9 to 11.
    const __m256i words = _mm256_shuffle_epi8(
        _mm256_set1_epi64x(static_cast<int64_t>(packed)),
        _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7));
    const __m256i moved = _mm256_mullo_epi16(words, _mm256_set1_epi64x(0x0001000800400200));
    store32(out.scale, odd16(_mm256_and_si256(_mm256_srli_epi16(moved, 9), _mm256_set1_epi16(7))));
    const __m256i spread =
        _mm256_setr_epi32(static_cast<int>(0x80800080u), static_cast<int>(0x80800080u), static_cast<int>(0x80800180u),
                          static_cast<int>(0x80800180u), static_cast<int>(0x80800280u), static_cast<int>(0x80800280u),
                          static_cast<int>(0x80800380u), static_cast<int>(0x80800380u));
    const __m256i shift = fixed(_mm256_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4));
    const __m256i mask = fixed(_mm256_set1_epi32(0x700));
    alignas(32) uint32_t index[32];
    TERN_UNROLL
    for (size_t c = 0; c < 4; ++c)
        store_indices(index + 8 * c, p + 8 * c, spread_high(load_u32(p + 32 + 4 * c), spread), shift, mask);
    through_memory(index);
    const __m256i halves = fixed(_mm256_inserti128_si256(_mm256_setzero_si256(), _mm_set1_epi8(1), 1));
    const __m256i bits = fixed(_mm256_set_epi64x(static_cast<int64_t>(0x8080808080808080u), 0x0808080808080808,
                                                 static_cast<int64_t>(0x8080808080808080u), 0x0808080808080808));
    const __m256i table = iq1_table(), two = fixed(bytes(2));
    TERN_UNROLL
    for (size_t s = 0; s < 8; ++s) {
        const __m256i own = _mm256_shuffle_epi8(broadcast4(p + 32 + 2 * s), halves);
        const __m256i positive = _mm256_cmpeq_epi8(_mm256_and_si256(own, bits), _mm256_setzero_si256());
        store_iq1(out.q + 32 * s, entries(kIqGrids.iq1, index + 4 * s), table, _mm256_and_si256(positive, two));
    }
}

// ---- without scales ----------------------------------------------------------------------------------------------

void unpack_tq2_0(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    TERN_UNROLL
    for (int h = 0; h < 2; ++h) {
        const __m256i v = load32(p + 32 * h);
        TERN_UNROLL
        for (int s = 0; s < 4; ++s)
            store32(out.q + 128 * h + 32 * s, _mm256_and_si256(_mm256_srli_epi16(v, 2 * s), bytes(3)));
    }
    store32(out.scale, _mm256_set1_epi16(1));
    out.d[0] = half_to_float(p + 64);
}

// floor(3 * v / 256): 0, 1 from 86 on, 2 from 171 on.
TERN_INLINE __m256i ternary_digit(__m256i v) {
    return _mm256_add_epi8(_mm256_min_epu8(_mm256_subs_epu8(v, bytes(85)), bytes(1)),
                           _mm256_min_epu8(_mm256_subs_epu8(v, bytes(170)), bytes(1)));
}

void unpack_tq1_0(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    __m256i a = load32(p);
    __m256i b = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p + 32)),
                                        _mm_cvtsi32_si128(static_cast<int>(load_u32(p + 48))), 1);
    __m256i digit[5];
    TERN_UNROLL
    for (int n = 0; n < 5; ++n) {
        digit[n] = ternary_digit(b);
        store32(out.q + 32 * n, ternary_digit(a));
        a = _mm256_add_epi8(a, _mm256_add_epi8(a, a));
        b = _mm256_add_epi8(b, _mm256_add_epi8(b, b));
    }
    // Stored in the pieces in which they are loaded again; the last is the fifth digits and all of the last four bytes.
    store32(out.q + 160, _mm256_permute2x128_si256(digit[0], digit[1], 0x20));
    store32(out.q + 192, _mm256_permute2x128_si256(digit[2], digit[3], 0x20));
    const __m256i end = _mm256_unpacklo_epi64(_mm256_unpacklo_epi32(digit[0], digit[1]),
                                              _mm256_unpacklo_epi32(digit[2], digit[3]));
    store32(out.q + 224, _mm256_blend_epi32(digit[4], end, 0xf0));
    store32(out.scale, _mm256_set1_epi16(1));
    out.d[0] = half_to_float(p + 52);
}

void unpack_q8_k(const uint8_t* p, size_t, const FormatOps&, Row& out) {
    memcpy(&out.d[0], p, 4);
    TERN_UNROLL
    for (int v = 0; v < 8; ++v) store32(out.q + 32 * v, load32(p + 4 + 32 * v));
    store32(out.scale, _mm256_set1_epi16(1));
}

template <size_t kBytes, void (*kUnpack)(const uint8_t*, size_t, const FormatOps&, Row&)>
constexpr RowFormat kUnpackedRow = {256, kBytes, kUnpack};

template <const RowFormat& kRow, PanelKind kKind, const FormatOps& kOps>
void run_unpacked(const MatmulArgs& args) {
    run_rows<kKind>(kRow, kOps, args);
}

}  // namespace

static inline void set_iq(KernelTable& table) {
    // Four steps of small quants, or two or one of larger ones, may be added in int16.
    static constexpr PanelKind kIQ1 = {.block = 256, .groups = 16, .narrow = 4, .bias = kBiasIQ1};
    static constexpr PanelKind kIQ2 = {.block = 256, .groups = 16, .narrow = 1, .bias = kBiasIQ2};
    static constexpr PanelKind kIQ3_XXS = {.block = 256, .groups = 16, .narrow = 1, .bias = kBiasIQ3_XXS};
    static constexpr PanelKind kIQ3_S = {.block = 256, .groups = 16, .narrow = 4, .bias = kBiasIQ3_S};
    static constexpr PanelKind kTQ = {.block = 256, .groups = 16, .narrow = 4, .bias = 1};
    static constexpr PanelKind kQ8 = {.block = 256, .groups = 16, .narrow = 1, .is_signed = true};
#define TERN_UNPACKED(name, bytes, unpack, kind)              \
    table.matmul[static_cast<size_t>(DType::name)] = {        \
        run_unpacked<kUnpackedRow<bytes, unpack>, kind, kFormatOps_##name>, rows_scratch_bytes, kPanelRows};
    TERN_UNPACKED(IQ1_S, 50, unpack_iq1_s, kIQ1)
    TERN_UNPACKED(IQ1_M, 56, unpack_iq1_m, kIQ1)
    TERN_UNPACKED(IQ2_XXS, 66, unpack_iq2_xxs, kIQ2)
    TERN_UNPACKED(IQ2_XS, 74, unpack_iq2_xs, kIQ2)
    TERN_UNPACKED(IQ2_S, 82, unpack_iq2_s, kIQ2)
    TERN_UNPACKED(IQ3_XXS, 98, unpack_iq3_xxs, kIQ3_XXS)
    TERN_UNPACKED(IQ3_S, 110, unpack_iq3_s, kIQ3_S)
    TERN_UNPACKED(TQ1_0, 54, unpack_tq1_0, kTQ)
    TERN_UNPACKED(TQ2_0, 66, unpack_tq2_0, kTQ)
    TERN_UNPACKED(Q8_K, 292, unpack_q8_k, kQ8)
#undef TERN_UNPACKED
}

}  // namespace tern::kernels
