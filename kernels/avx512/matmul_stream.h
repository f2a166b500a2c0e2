// Products of one to four tokens, straight from the file's rows. Such a product is bound by memory, and memory is
// fastest when it is read strictly in file order, so the 16 lanes of a step are 16 consecutive blocks rather than 16
// rows: their headers are decoded together, their dot products reduced together. The chain of multiply-adds, whose
// order is fixed, follows per 16 rows with one row in each lane.
#pragma once

#include "kernels/avx512/matmul_pack.h"

namespace tern::kernels::avx512 {

// Activations of one token, prepared once per call. Every array holds `length` blocks: those of the row, and after
// its end the first ones again, because 16 consecutive blocks may reach into the next row.
struct StreamInput {
    const int8_t* q;      // a block's elements in the order in which the format's vectors hold them
    const int32_t* sums;  // [pair][length]: the sums of groups 2 * pair and 2 * pair + 1 as int16, groups as the format
                          // has them; formats of 32 elements: one row, int32
    const float* d;       // [length]
    size_t length;
};

// Weights are fetched twice: far ahead into the second-level cache, which keeps memory busy, and nearer into the first.
// Without the second a read that misses the first-level cache waits in the same queue as the far fetches, and computing
// and waiting add up instead of overlapping.
inline constexpr size_t kFarBytes = 8192;
inline constexpr size_t kNearBytes = 2560;

// Fetches what lies ahead of the run of kBytes at `run`, in kShares calls, one for each share; every line once.
template <size_t kBytes, size_t kShares>
TERN_INLINE void prefetch_share(const uint8_t* run, size_t share) {
    constexpr size_t kLines = (kBytes + 63) / 64;
    TERN_UNROLL
    for (size_t i = share * kLines / kShares; i < (share + 1) * kLines / kShares; ++i) {
        _mm_prefetch(reinterpret_cast<const char*>(run + kFarBytes + 64 * i), _MM_HINT_T1);
        _mm_prefetch(reinterpret_cast<const char*>(run + kNearBytes + 64 * i), _MM_HINT_T0);
    }
}

// Results of 16 blocks, lane = block: the sum (formats of 256: u of the definition), d * da and dmin * da.
struct StreamOutput {
    float* u;
    float* scale;
    float* offset;
};

inline constexpr size_t kStreamTokens = 4;  // at most

struct StreamFormat {
    size_t block, block_bytes;
    size_t groups;  // of a block: 8 or 16; formats of 32 elements: 1
    bool min32;     // formats of 32 elements with minimums
    // Writes the elements of block `part` of the ActBlock in the order of StreamInput::q.
    void (*order)(const ActBlock& act, size_t part, int8_t* q);
    // 16 blocks from `w` for 1, 2 … tokens, whose blocks begin at `s`; null from the first number on that is not served.
    void (*group[kStreamTokens])(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat& format,
                                 const FormatOps& ops, const StreamOutput* out);
};

extern const StreamFormat kStreamQ4_0, kStreamQ4_1, kStreamQ5_0, kStreamQ5_1, kStreamQ8_0, kStreamIQ4_NL,
    kStreamMXFP4, kStreamQ2_K, kStreamQ3_K, kStreamQ4_K, kStreamQ5_K, kStreamQ6_K, kStreamIQ4_XS;
// matmul_iq.cpp
extern const StreamFormat kStreamIQ1_S, kStreamIQ1_M, kStreamIQ2_XXS, kStreamIQ2_XS, kStreamIQ2_S, kStreamIQ3_XXS,
    kStreamIQ3_S, kStreamTQ1_0, kStreamTQ2_0, kStreamQ8_K;

// How many tokens a format serves.
constexpr size_t stream_tokens(const StreamFormat& format) {
    size_t n = 0;
    while (n < kStreamTokens && format.group[n]) ++n;
    return n;
}

// For at most stream_tokens(format) tokens.
void run_stream(const StreamFormat& format, const FormatOps& ops, const MatmulArgs& args);
size_t stream_scratch_bytes(size_t block, size_t k, size_t tokens);

}  // namespace tern::kernels::avx512
