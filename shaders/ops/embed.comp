#version 450
// y[t] = row token[t] of the table. A lane decodes 32 elements.
// for each format
#include "common.glsl"
#include "exact.glsl"
layout(local_size_x = 32) in;
layout(push_constant) uniform Push {
    uint cols, blocks, row_words;
    uint first_row, slab_rows;  // rows of the table in this slab
    uint lookup;                // graph::Lookup: the token, its position, row 0
};
#include "weights.glsl"
layout(set = 0, binding = 2) writeonly buffer OutBuffer { float y[]; };
#include "format.glsl"
#include "decode.glsl"

void main() {
    uint chunks = (cols + 31) / 32, i = flat_index(32), t = i / chunks, chunk = i % chunks;
    if (t >= batch[kTokens]) return;
    uint row = (lookup == 0 ? batch_word(kTokenIds, t) : lookup == 1 ? batch_word(kPositions, t) : 0) - first_row;
    if ( row >= slab_rows || chunk * 32 >= cols) return;
    uint base = row_base(row, row_words);
    if ((chunk + 1) * 32 <= cols) {
        float w[32];
        decode32(base, chunk, w);
        [[unroll]] for (uint i = 0; i < 32; ++i) y[t * cols + chunk * 32 + i] = w[i];
        return;
    }
#ifdef FLOATS
    for (uint i = chunk * 32; i < cols; ++i) y[t * cols + i] = element(base, i);
#endif
}
