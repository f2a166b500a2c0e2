// Products of one or two tokens, straight from the file's rows. Such a product is bound by memory, and memory is
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

// Bytes ahead of the reads, into the second-level cache: nearer ones come late on fast memory, farther ones cost
// page walks.
inline constexpr size_t kPrefetchDistance = 8192;

// Results of 16 blocks, lane = block: the sum (formats of 256: u of the definition), d * da and dmin * da.
struct StreamOutput {
    float* u;
    float* scale;
    float* offset;
};

struct StreamFormat {
    size_t block, block_bytes;
    size_t groups;  // of a block: 8 or 16; formats of 32 elements: 1
    bool min32;     // formats of 32 elements with minimums
    // Writes the elements of block `part` of the ActBlock in the order of StreamInput::q.
    void (*order)(const ActBlock& act, size_t part, int8_t* q);
    // 16 blocks from `w` for 1 or 2 tokens, whose blocks begin at `s`.
    void (*group[2])(const uint8_t* w, const StreamInput* x, size_t s, const StreamFormat& format, const FormatOps& ops,
                     const StreamOutput* out);
};

extern const StreamFormat kStreamQ4_0, kStreamQ4_1, kStreamQ5_0, kStreamQ5_1, kStreamQ8_0, kStreamIQ4_NL,
    kStreamMXFP4, kStreamQ2_K, kStreamQ3_K, kStreamQ4_K, kStreamQ5_K, kStreamQ6_K, kStreamIQ4_XS;
// matmul_iq.cpp
extern const StreamFormat kStreamIQ1_S, kStreamIQ1_M, kStreamIQ2_XXS, kStreamIQ2_XS, kStreamIQ2_S, kStreamIQ3_XXS,
    kStreamIQ3_S, kStreamTQ1_0, kStreamTQ2_0, kStreamQ8_K;

// For at most kStreamTokens tokens.
inline constexpr size_t kStreamTokens = 2;
void run_stream(const StreamFormat& format, const FormatOps& ops, const MatmulArgs& args);
size_t stream_scratch_bytes(size_t block, size_t k, size_t tokens);

}  // namespace tern::kernels::avx512
