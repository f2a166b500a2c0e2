#version 450
// The product of matmul.comp for many tokens: a workgroup has TILE rows and TILE tokens, whose chunks go through its memory
// STEP at a time; a lane has 4 x 4 of the sums.
// for each format
// variants: BUFFERS
// variants of quantised formats: DOTS
#include "common.glsl"
layout(constant_id = 4) const uint KIND = 0;  // 1: rows grouped by expert; 2: a slab for each part of a row
layout(constant_id = 5) const bool BIAS = false;
layout(local_size_x = 256) in;
const bool EXPERTS = KIND == 1, HEADS = KIND == 2;
const uint TILE = 64, STEP = 2;

layout(push_constant) uniform Push {  // as in matmul.comp
    uint cols, blocks, row_words;
    uint groups;
    uint first_row;
    uint rows;
    uint domain, per_row;
    uint first_expert, begins;
};
#include "weights.glsl"
layout(set = 0, binding = 2) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) readonly buffer InQuads { uvec4 x_quads[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };
layout(set = 0, binding = 4) readonly buffer BiasBuffer { float bias[]; };
layout(set = 0, binding = 5) readonly buffer RoutingBuffer { uint routing[]; };
#include "format.glsl"
#include "dot4.glsl"

// A line more than needed: lanes of one subgroup then meet in fewer banks.
#ifdef FLOATS
const uint WORDS = 32, QUADS = 8;  // of a chunk of weights; of activations, in fours of words
shared float w_tile[STEP * TILE * (WORDS + 1)], x_tile[STEP * TILE * (WORDS + 1)];
#else
#include "chunk_sum.glsl"
const uint WORDS = 8, QUADS = 3;
shared uint w_tile[STEP * TILE * (WORDS + 1)], x_tile[STEP * TILE * (WORDS + 1)];
shared vec4 w_scale[STEP * TILE], x_tail[STEP * TILE];  // scale and low; quantize.comp
#endif

void main() {
    uint lane = gl_LocalInvocationID.x;
    uint begin = 0, count, expert = first_expert + gl_WorkGroupID.z, expert_groups = KIND != 0 ? gl_WorkGroupID.z * groups : 0;
    if (EXPERTS) {
        begin = routing[begins + expert];
        count = routing[begins + expert + 1] - begin;
    } else {
        count = row_count(domain, per_row);
    }
    uint first = gl_WorkGroupID.y * TILE;
    if (first >= count) return;
    uint chunks = (cols + 31) / 32;  // a row of floats may have any length

    // The lanes of the first half have a row each, of one of the chunks; the others have quads of activations.
    uint my_group = min(gl_WorkGroupID.x * (TILE / 32) + lane % TILE / 32, groups - 1);
    uint base = row_base((expert_groups + my_group) * 32 + lane % 32, row_words);
    float sum[16];
    [[unroll]] for (uint i = 0; i < 16; ++i) sum[i] = 0.0;

    for (uint step = 0; step < chunks; step += STEP) {
        barrier();
        if (lane < TILE * STEP) {
            uint chunk = step + lane / TILE, at = lane * (WORDS + 1);
#ifdef FLOATS
            float w[32];
            if (chunk < cols / 32) {
                decode32(base, chunk, w);
            } else {
                [[unroll]] for (uint i = 0; i < 32; ++i) w[i] = chunk * 32 + i < cols ? element(base, chunk * 32 + i) : 0.0;
            }
            [[unroll]] for (uint i = 0; i < 32; ++i) w_tile[at + i] = w[i];
#else
            uint q[8];
            vec2 scale = vec2(0.0), low = vec2(0.0);
            if (chunk < chunks) {
                unpack32(base, chunk, q, scale, low);
            } else {
                [[unroll]] for (uint i = 0; i < 8; ++i) q[i] = 0u;
            }
            [[unroll]] for (uint i = 0; i < 8; ++i) w_tile[at + i] = q[i];
            w_scale[lane] = vec4(scale, low);
#endif
        } else {
            for (uint i = lane - TILE * STEP; i < TILE * STEP * QUADS; i += 256 - TILE * STEP) {
                uint part = i % QUADS, chunk = step + i / QUADS % STEP, t = i / (QUADS * STEP);
                uint to = i / QUADS % STEP * TILE + t;
                uint row = HEADS ? (first + min(t, count - 1 - first)) * begins + expert : begin + min(first + t, count - 1);
#ifdef FLOATS
                [[unroll]] for (uint j = 0; j < 4; ++j) {
                    uint k = chunk * 32 + part * 4 + j;
                    x_tile[to * (WORDS + 1) + part * 4 + j] = k < cols ? x[row * cols + k] : 0.0;
                }
#else
                uvec4 four = chunk < chunks ? x_quads[(row * chunks + chunk) * 3 + part] : uvec4(0u);
                if (part == 2)
                    x_tail[to] = uintBitsToFloat(four);
                else
                    [[unroll]] for (uint j = 0; j < 4; ++j) x_tile[to * (WORDS + 1) + part * 4 + j] = four[j];
#endif
            }
        }
        barrier();
        [[unroll]] for (uint s = 0; s < STEP; ++s) {
#ifdef FLOATS
            for (uint k = 0; k < 32; ++k) {
                float w[4];
                [[unroll]] for (uint r = 0; r < 4; ++r) w[r] = w_tile[(s * TILE + lane % 16 + 16 * r) * (WORDS + 1) + k];
                [[unroll]] for (uint t = 0; t < 4; ++t) {
                    float one = x_tile[(s * TILE + lane / 16 + 16 * t) * (WORDS + 1) + k];
                    [[unroll]] for (uint r = 0; r < 4; ++r) sum[t * 4 + r] = fma(w[r], one, sum[t * 4 + r]);
                }
            }
#else
            ivec2 part[16];
            [[unroll]] for (uint i = 0; i < 16; ++i) part[i] = ivec2(0);
            [[unroll]] for (uint k = 0; k < 8; ++k) {
                uint w[4];
                [[unroll]] for (uint r = 0; r < 4; ++r) w[r] = w_tile[(s * TILE + lane % 16 + 16 * r) * (WORDS + 1) + k];
                [[unroll]] for (uint t = 0; t < 4; ++t) {
                    uint one = x_tile[(s * TILE + lane / 16 + 16 * t) * (WORDS + 1) + k];
                    [[unroll]] for (uint r = 0; r < 4; ++r) part[t * 4 + r][HALVES * k / 8] += dot4(w[r], one);
                }
            }
            [[unroll]] for (uint t = 0; t < 4; ++t) {
                vec4 tail = x_tail[s * TILE + lane / 16 + 16 * t];
                [[unroll]] for (uint r = 0; r < 4; ++r) {
                    vec4 w = w_scale[s * TILE + lane % 16 + 16 * r];
                    sum[t * 4 + r] = fma(tail.x, chunk_sum(w.xy, w.zw, vec2(part[t * 4 + r]), tail), sum[t * 4 + r]);
                }
            }
#endif
        }
    }
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        uint in_slab = gl_WorkGroupID.x * TILE + lane % 16 + 16 * r, row = first_row + in_slab;
        if (in_slab >= groups * 32 || row >= rows) continue;
        float b = BIAS ? bias[(EXPERTS ? expert * rows : 0) + row] : 0.0;
        uint stride = HEADS ? rows * begins : rows, column = HEADS ? expert * rows + row : row;
        [[unroll]] for (uint t = 0; t < 4; ++t) {
            uint token = first + lane / 16 + 16 * t;
            if (token < count) y[(begin + token) * stride + column] = BIAS ? sum[t * 4 + r] + b : sum[t * 4 + r];
        }
    }
}
