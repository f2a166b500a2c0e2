#version 450
// y[t][r] = sum over k of w[r][k] · x[t][k] (+ bias[r]), with the sums of docs/numerics.md: of formats that are no floats x are
// quantised activations (quantize.comp), the products of a block are added exactly, as integers or in f32, and the blocks in
// their order; of floats stripe by stripe.
// for each format
// variants: BUFFERS TEXELS
// variants of quantised formats: DOTS
//
// A lane has one row of each of its ROWS groups of 32. SLICES parts of a workgroup share the blocks of a row, or (4 of them)
// the stripes, and leave what they found in the workgroup's memory, where each of them then adds some of the sums in order.
#include "common.glsl"
#include "exact.glsl"
layout(constant_id = 0) const uint TOKENS = 1;
layout(constant_id = 1) const uint ROWS = 1;
layout(constant_id = 2) const uint SLICES = 1;  // of floats: 4
layout(constant_id = 3) const uint KIND = 0;    // 1: rows grouped by expert; 2: a slab for each part of a row
layout(constant_id = 4) const bool BIAS = false;
layout(local_size_x = 32, local_size_y_id = 2) in;
const bool EXPERTS = KIND == 1, HEADS = KIND == 2;

layout(push_constant) uniform Push {
    uint cols, blocks, row_words;
    uint groups;      // of 32 rows, in this slab (of one expert)
    uint first_row;   // of the slab, in the output
    uint rows;        // of the output (of one expert)
    uint domain, per_row;
    uint first_expert, begins;  // of the slab; where the routing has its first slots, or the number of parts
};
#include "weights.glsl"
#ifdef VARIANT_TEXELS
layout(set = 0, binding = 2) uniform textureBuffer x;
#else
layout(set = 0, binding = 2) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer InQuads { uvec4 x_quads[]; };
#endif
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };
layout(set = 0, binding = 4) readonly buffer BiasBuffer { float bias[]; };
layout(set = 0, binding = 5) readonly buffer RoutingBuffer { uint routing[]; };
#include "format.glsl"
#include "decode.glsl"

const uint SUMS = ROWS * TOKENS, OWN = (SUMS + SLICES - 1) / SLICES;  // of those, a slice's at the end
#ifdef FLOATS
const uint SUMS_AT_ONCE = 8;
shared float found[16 * SUMS_AT_ONCE * 32];
#else
#include "dot4.glsl"
#include "block_sum.glsl"
// Blocks of a slice at a time, so that `found` stays below 16 KiB (32 for four numbers a block and eight sums).
const uint MOST = 16 / TERMS, WINDOW = SLICES == 1 || SUMS >= MOST ? 1 : MOST / SUMS;
shared float found[SLICES > 1 ? SLICES * WINDOW * SUMS * TERMS * 32 : 1];
#endif

void main() {
    uint lane = gl_LocalInvocationID.x, slice = gl_LocalInvocationID.y;
    uint begin = 0, count, expert_groups = 0, expert = first_expert + gl_WorkGroupID.z;
    if (EXPERTS) {
        begin = routing[begins + expert];
        count = routing[begins + expert + 1] - begin;
    } else {
        count = row_count(domain, per_row);
    }
    if (KIND != 0) expert_groups = gl_WorkGroupID.z * groups;
    uint first = gl_WorkGroupID.y * TOKENS;
    if (first >= count) return;
    // Where the rows begin: in numbers, or in fours of words.
#ifdef FLOATS
    uint x_stride = cols;
#elif defined(VARIANT_TEXELS)
    uint x_stride = cols / 32 * 9;
#else
    uint x_stride = cols / 32 * 3;
#endif
    uint x_row[TOKENS];
    [[unroll]] for (uint t = 0; t < TOKENS; ++t)
        x_row[t] = (HEADS ? (first + min(t, count - 1 - first)) * begins + expert : begin + min(first + t, count - 1)) * x_stride;
    uint base[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; ++r)
        base[r] = row_base((expert_groups + min(gl_WorkGroupID.x * ROWS + r, groups - 1)) * 32 + lane, row_words);
    float sum[OWN];  // number SLICES · i + slice
    [[unroll]] for (uint i = 0; i < OWN; ++i) sum[i] = 0.0;

#ifdef FLOATS
    vec4 s[SUMS];  // stripes 4 · slice …
    [[unroll]] for (uint i = 0; i < SUMS; ++i) s[i] = vec4(0.0);
    for (uint k = 4 * slice; k < cols; k += 16) {
        vec4 w[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; ++r) w[r] = four(base[r], k);
        [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
#ifdef VARIANT_TEXELS  // rows are multiples of 4
            vec4 some = texelFetch(x, int((x_row[t] + k) / 4));
#else
            vec4 some = vec4(0.0);
            [[unroll]] for (uint i = 0; i < 4; ++i)
                if (k + i < cols) some[i] = x[x_row[t] + k + i];
#endif
            [[unroll]] for (uint r = 0; r < ROWS; ++r) s[r * TOKENS + t] = fma(w[r], some, s[r * TOKENS + t]);
        }
    }
    // SUMS_AT_ONCE of them go through the workgroup's memory at a time.
    [[unroll]] for (uint from = 0; from < SUMS; from += SUMS_AT_ONCE) {
        if (from > 0) barrier();
        [[unroll]] for (uint i = from; i < min(SUMS, from + SUMS_AT_ONCE); ++i)
            [[unroll]] for (uint j = 0; j < 4; ++j) found[((i - from) * 16 + 4 * slice + j) * 32 + lane] = s[i][j];
        barrier();
        [[unroll]] for (uint o = from / SLICES; o < (from + SUMS_AT_ONCE) / SLICES && o < OWN; ++o) {
            uint i = o * SLICES + slice;
            if (i >= SUMS) continue;
            float stripes[16];
            [[unroll]] for (uint j = 0; j < 16; ++j) stripes[j] = found[((i - from) * 16 + j) * 32 + lane];
            sum[o] = tree(stripes);
        }
    }
#else
    int s[SUMS];
    float m[SUMS], da[TOKENS];
    vec2 d[ROWS];
#ifdef VARIANT_TEXELS  // a software device: loops cost what lives across them
    for (uint block = 0; block < blocks; ++block) {
        [[unroll]] for (uint i = 0; i < SUMS; ++i) {
            s[i] = 0;
            m[i] = 0.0;
        }
#ifndef SMALL_BLOCKS
        for (uint j = 0; j < CHUNKS; ++j) {
            uint chunk = block * CHUNKS + j;
#else
        {
            uint chunk = block;
#endif
            ivec2 scale[ROWS], low[ROWS];
            float w[ROWS][32];
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                uint q[8];
                unpack32(base[r], chunk, q, d[r], scale[r], low[r]);
                [[unroll]] for (uint i = 0; i < 32; ++i) w[r][i] = signed_byte(q[i / 4], i & 3);
            }
            [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
                int at = int(x_row[t] + chunk * 9);
                vec2 part[ROWS];
                [[unroll]] for (uint r = 0; r < ROWS; ++r) part[r] = vec2(0.0);
                [[unroll]] for (uint j = 0; j < 8; ++j) {
                    vec4 some = texelFetch(x, at + int(j));
                    [[unroll]] for (uint i = 0; i < 4; ++i)
                        [[unroll]] for (uint r = 0; r < ROWS; ++r)
                            part[r][HALVES * j / 8] += w[r][j * 4 + i] * some[i];  // integers below 2^24
                }
                vec4 tail = texelFetch(x, at + 8);
                [[unroll]] for (uint r = 0; r < ROWS; ++r)
                    add_chunk(vec2(scale[r]), vec2(low[r]), part[r], tail, s[r * TOKENS + t], m[r * TOKENS + t]);
                da[t] = tail.x;
            }
        }
        [[unroll]] for (uint i = 0; i < SUMS; ++i) sum[i] = add_term(block_term(d[i / TOKENS], da[i % TOKENS], s[i], m[i]), sum[i]);
    }
#else
    for (uint done = 0; done < blocks; done += SLICES * WINDOW) {
        for (uint v = 0; v < WINDOW; ++v) {
            uint block = done + v * SLICES + slice;
            [[unroll]] for (uint i = 0; i < SUMS; ++i) {
                s[i] = 0;
                m[i] = 0.0;
            }
            if (block >= blocks) {  // adds nothing
                [[unroll]] for (uint t = 0; t < TOKENS; ++t) da[t] = 0.0;
                [[unroll]] for (uint r = 0; r < ROWS; ++r) d[r] = vec2(0.0);
            } else {
                for (uint j = 0; j < CHUNKS; ++j) {
                    uint chunk = block * CHUNKS + j, q[ROWS][8];
                    ivec2 scale[ROWS], low[ROWS];
                    [[unroll]] for (uint r = 0; r < ROWS; ++r) unpack32(base[r], chunk, q[r], d[r], scale[r], low[r]);
                    [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
                        uint at = x_row[t] + chunk * 3;
                        uvec4 some[2] = {x_quads[at], x_quads[at + 1]};
                        vec4 tail = uintBitsToFloat(x_quads[at + 2]);
                        [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                            ivec2 part = ivec2(0);
                            [[unroll]] for (uint j = 0; j < 8; ++j) part[HALVES * j / 8] += dot4(q[r][j], some[j / 4][j & 3]);
                            add_chunk(scale[r], low[r], part, tail, s[r * TOKENS + t], m[r * TOKENS + t]);
                        }
                        da[t] = tail.x;
                    }
                }
            }
            [[unroll]] for (uint i = 0; i < SUMS; ++i) {
                vec4 term = block_term(d[i / TOKENS], da[i % TOKENS], s[i], m[i]);
                if (SLICES == 1)
                    sum[i] = add_term(term, sum[i]);
                else
                    [[unroll]] for (uint j = 0; j < TERMS; ++j)
                        found[(((v * SLICES + slice) * SUMS + i) * TERMS + j) * 32 + lane] = term[j];
            }
        }
        if (SLICES > 1) {
            barrier();
            [[unroll]] for (uint o = 0; o < OWN; ++o) {
                uint i = o * SLICES + slice;
                if (i >= SUMS) continue;
                for (uint b = 0; b < SLICES * WINDOW; ++b) {
                    vec4 term;
                    [[unroll]] for (uint j = 0; j < TERMS; ++j) term[j] = found[((b * SUMS + i) * TERMS + j) * 32 + lane];
                    sum[o] = add_term(term, sum[o]);
                }
            }
            barrier();
        }
    }
#endif
#endif
    [[unroll]] for (uint o = 0; o < OWN; ++o) {
        uint i = o * SLICES + slice, t = i % TOKENS;
        uint group = gl_WorkGroupID.x * ROWS + i / TOKENS, row = first_row + group * 32 + lane;
        if (i >= SUMS || group >= groups || row >= rows || first + t >= count) continue;
        uint stride = HEADS ? rows * begins : rows, column = HEADS ? expert * rows + row : row;
        y[(begin + first + t) * stride + column] = BIAS ? sum[o] + bias[(EXPERTS ? expert * rows : 0) + row] : sum[o];
    }
}
