#version 450
// y[t][r] = sum over k of w[r][k] · x[t][k] (+ bias[r]), sums in f32, k ascending within a slice. Of formats that are no
// floats, x are quantised activations (quantize.comp), and the products of 32 elements are added as integers: exactly, in
// integers or in f32, as they stay below 2^24.
// for each format
// variants: BUFFERS TEXELS
// variants of quantised formats: DOTS
//
// A lane has one row of each of its ROWS groups of 32; SLICES parts of a workgroup share the chunks of a row. The lanes of
// a subgroup load neighbouring f32 activations and hand them to each other; quantised ones are few enough for all to load.
#include "common.glsl"
layout(constant_id = 0) const uint TOKENS = 1;
layout(constant_id = 1) const uint ROWS = 1;
layout(constant_id = 2) const uint SLICES = 1;
layout(constant_id = 3) const uint SUBGROUP = 32;
layout(constant_id = 4) const uint KIND = 0;  // 1: rows grouped by expert; 2: a slab for each part of a row
layout(constant_id = 5) const bool BIAS = false;
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
#include "dot4.glsl"

#ifndef FLOATS
#include "chunk_sum.glsl"
#endif

const uint WIDTH = SUBGROUP < 32 ? SUBGROUP : 32;
shared float partial[SLICES > 1 ? SLICES * 32 * ROWS * TOKENS : 1];

float from_lane(float v, uint i) {
    if (SUBGROUP == 64) return subgroupShuffle(v, (gl_SubgroupInvocationID & 32u) + i);
    return subgroupBroadcast(v, i);
}

void main() {
    uint lane = gl_LocalInvocationID.x, slice = gl_LocalInvocationID.y;
    uint begin = 0, count, expert_groups = 0, expert = 0;
    if (EXPERTS) {
        expert = first_expert + gl_WorkGroupID.z;
        begin = routing[begins + expert];
        count = routing[begins + expert + 1] - begin;
    } else {
        count = row_count(domain, per_row);
        expert = first_expert + gl_WorkGroupID.z;
    }
    if (KIND != 0) expert_groups = gl_WorkGroupID.z * groups;
    uint first = gl_WorkGroupID.y * TOKENS;
    if (first >= count) return;
    // Where the rows begin: in numbers, or in fours of words.
#ifdef FLOATS
    const uint x_stride = cols;
#elif defined(VARIANT_TEXELS)
    const uint x_stride = cols / 32 * 9;
#else
    const uint x_stride = cols / 32 * 3;
#endif
    uint x_row[TOKENS];
    [[unroll]] for (uint t = 0; t < TOKENS; ++t)
        x_row[t] = (HEADS ? (first + min(t, count - 1 - first)) * begins + expert : begin + min(first + t, count - 1)) * x_stride;
    uint base[ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; ++r)
        base[r] = row_base((expert_groups + min(gl_WorkGroupID.x * ROWS + r, groups - 1)) * 32 + lane, row_words);
    float sum[ROWS * TOKENS];
    [[unroll]] for (uint i = 0; i < ROWS * TOKENS; ++i) sum[i] = 0.0;

    uint from = gl_SubgroupInvocationID & (WIDTH - 1);
    for (uint chunk = slice; chunk < cols / 32; chunk += SLICES) {
#ifdef FLOATS
        float w[ROWS][32];
        [[unroll]] for (uint r = 0; r < ROWS; ++r) decode32(base[r], chunk, w[r]);
        [[unroll]] for (uint t = 0; t < TOKENS; ++t)
#ifdef VARIANT_TEXELS
            // Exchanges between lanes are dear here, and a fetch of the same texel in all lanes is not.
            [[unroll]] for (uint j = 0; j < 8; ++j) {
                vec4 some = texelFetch(x, int(x_row[t] / 4 + chunk * 8 + j));
                [[unroll]] for (uint i = 0; i < 4; ++i)
                    [[unroll]] for (uint r = 0; r < ROWS; ++r)
                        sum[r * TOKENS + t] = fma(w[r][j * 4 + i], some[i], sum[r * TOKENS + t]);
            }
#else
            [[unroll]] for (uint j = 0; j < 32 / WIDTH; ++j) {
                float some = x[x_row[t] + chunk * 32 + j * WIDTH + from];
                [[unroll]] for (uint i = 0; i < WIDTH; ++i) {
                    float one = from_lane(some, i);
                    [[unroll]] for (uint r = 0; r < ROWS; ++r)
                        sum[r * TOKENS + t] = fma(w[r][j * WIDTH + i], one, sum[r * TOKENS + t]);
                }
            }
#endif
#else
        uint q[ROWS][8];
        vec2 scale[ROWS], low[ROWS];
        [[unroll]] for (uint r = 0; r < ROWS; ++r) unpack32(base[r], chunk, q[r], scale[r], low[r]);
#ifdef VARIANT_TEXELS
        float w[ROWS][32];
        [[unroll]] for (uint r = 0; r < ROWS; ++r)
            [[unroll]] for (uint i = 0; i < 32; ++i) w[r][i] = signed_byte(q[r][i / 4], i & 3);
#endif
        [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
            vec2 part[ROWS];  // of the first and the second 16 elements
#ifdef VARIANT_TEXELS
            int at = int(x_row[t] + chunk * 9);
            [[unroll]] for (uint r = 0; r < ROWS; ++r) part[r] = vec2(0.0);
            [[unroll]] for (uint j = 0; j < 8; ++j) {
                vec4 some = texelFetch(x, at + int(j));
                [[unroll]] for (uint i = 0; i < 4; ++i)
                    [[unroll]] for (uint r = 0; r < ROWS; ++r)
                        part[r][HALVES * j / 8] = fma(w[r][j * 4 + i], some[i], part[r][HALVES * j / 8]);
            }
            vec4 tail = texelFetch(x, at + 8);
#else
            uint at = x_row[t] + chunk * 3;
            uvec4 some[2] = {x_quads[at], x_quads[at + 1]};
            vec4 tail = uintBitsToFloat(x_quads[at + 2]);
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                int whole[2] = {0, 0};
                [[unroll]] for (uint j = 0; j < 8; ++j) whole[HALVES * j / 8] += dot4(q[r][j], some[j / 4][j & 3]);
                part[r] = vec2(whole[0], whole[1]);
            }
#endif
            [[unroll]] for (uint r = 0; r < ROWS; ++r)
                sum[r * TOKENS + t] = fma(tail.x, chunk_sum(scale[r], low[r], part[r], tail), sum[r * TOKENS + t]);
        }
#endif
    }
#ifdef FLOATS
    if (slice == 0)
        for (uint i = cols / 32 * 32; i < cols; ++i)
            [[unroll]] for (uint r = 0; r < ROWS; ++r) {
                float one = element(base[r], i);
                [[unroll]] for (uint t = 0; t < TOKENS; ++t)
#ifdef VARIANT_TEXELS
                    sum[r * TOKENS + t] = fma(one, texelFetch(x, int((x_row[t] + i) / 4))[i & 3], sum[r * TOKENS + t]);
#else
                    sum[r * TOKENS + t] = fma(one, x[x_row[t] + i], sum[r * TOKENS + t]);
#endif
            }
#endif
    if (SLICES > 1) {
        [[unroll]] for (uint i = 0; i < ROWS * TOKENS; ++i) partial[(slice * ROWS * TOKENS + i) * 32 + lane] = sum[i];
        barrier();
        if (slice != 0) return;
        for (uint s = 1; s < SLICES; ++s)
            [[unroll]] for (uint i = 0; i < ROWS * TOKENS; ++i) sum[i] += partial[(s * ROWS * TOKENS + i) * 32 + lane];
    }
    [[unroll]] for (uint r = 0; r < ROWS; ++r) {
        uint group = gl_WorkGroupID.x * ROWS + r, row = first_row + group * 32 + lane;
        if (group >= groups || row >= rows) continue;
        float b = BIAS ? bias[(EXPERTS ? expert * rows : 0) + row] : 0.0;
        uint stride = HEADS ? rows * begins : rows, column = HEADS ? expert * rows + row : row;
        [[unroll]] for (uint t = 0; t < TOKENS; ++t)
            if (first + t < count) y[(begin + first + t) * stride + column] = BIAS ? sum[r * TOKENS + t] + b : sum[r * TOKENS + t];
    }
}
