#version 450
// Products of many tokens in half precision: weights and activations (halve.comp) are f16, and results differ
// from those of matmul_tiles.comp (src/backend/vulkan/self_test.cpp has the bound). A workgroup has TILE rows
// and TILE tokens, whose chunks go through its memory one at a time.
// HALF: a lane has 4 x 4 sums, in f16 over a chunk, whose weights are scaled by a power of two, and in f32
// over a row.
// MATRIX: a subgroup has EACH cooperative matrices of sums in f32. Weights from 65520 on are infinite.
// for each format
// variants: HALF MATRIX
#include "common.glsl"
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifdef VARIANT_MATRIX
#define MATRIX_WORD f16vec2
#include "cooperative_matrix.glsl"
#endif
layout(constant_id = 0) const uint SUBGROUP = 32;
layout(constant_id = 3) const uint KIND = 0;  // 1: rows grouped by expert; 2: a slab for each part of a row
layout(constant_id = 4) const bool BIAS = false;
layout(local_size_x = 256) in;
const bool EXPERTS = KIND == 1, HEADS = KIND == 2;
const uint LANES = 256, TILE = 64;

layout(push_constant) uniform Push {  // as in matmul.comp
    uint cols, blocks, row_words;
    uint groups;
    uint first_row;
    uint rows;
    uint domain, per_row;
    uint first_expert, begins;
};
#include "weights.glsl"
layout(set = 0, binding = 2) readonly buffer InBuffer { uvec4 x[]; };
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };
layout(set = 0, binding = 4) readonly buffer BiasBuffer { float bias[]; };
layout(set = 0, binding = 5) readonly buffer RoutingBuffer { uint routing[]; };
#include "format.glsl"
#include "decode.glsl"

#ifdef VARIANT_MATRIX
const uint LINE = 20;  // words of two numbers: 16 bytes more than needed, for rows to begin in other banks
const uint DOWN = TILE / MATRIX_M, ACROSS = TILE / MATRIX_N, SUBGROUPS = LANES / SUBGROUP;
// src/backend/vulkan/self_test.cpp (lacks) sees to it that they are at most kMost, and beside each other.
const uint kMost = 8, EACH = (DOWN * ACROSS + SUBGROUPS - 1) / SUBGROUPS;
const uint SUM = MATRIX_M * MATRIX_N;
shared float sums[SUBGROUPS * SUM];
#else
const uint LINE = 17;
shared float w_scale[TILE];
#endif
shared f16vec2 w_tile[TILE * LINE], x_tile[TILE * LINE];

uint begin = 0, count, expert, first, chunks;

uint row_of(uint token) { return HEADS ? token * begins + expert : begin + token; }

// The sum of token `t` and row `r` of the tile.
void put(uint t, uint r, float sum) {
    uint in_slab = gl_WorkGroupID.x * TILE + r, row = first_row + in_slab, token = first + t;
    if (in_slab >= groups * 32 || row >= rows || token >= count) return;
    uint stride = HEADS ? rows * begins : rows, column = HEADS ? expert * rows + row : row;
    sum *= uintBitsToFloat(x[row_of(token) * (chunks * 4 + 1) + chunks * 4].x);
    if (BIAS) sum += bias[(EXPERTS ? expert * rows : 0) + row];
    y[(begin + token) * stride + column] = sum;
}

void main() {
    // The lanes of a subgroup are neighbours.
    uint lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    uint expert_groups = KIND != 0 ? gl_WorkGroupID.z * groups : 0;
    expert = first_expert + gl_WorkGroupID.z;
    if (EXPERTS) {
        begin = routing[begins + expert];
        count = routing[begins + expert + 1] - begin;
    } else {
        count = row_count(domain, per_row);
    }
    first = gl_WorkGroupID.y * TILE;
    if (first >= count) return;
    chunks = (cols + 31) / 32;  // a row of floats may have any length

    uint my_group = min((gl_WorkGroupID.x * TILE + lane % TILE) / 32, groups - 1);
    uint base = row_base((expert_groups + my_group) * 32 + lane % 32, row_words);
#ifdef VARIANT_MATRIX
    MatrixSum sum[kMost];
    [[unroll]] for (uint i = 0; i < kMost; ++i)
        if (i < EACH) sum[i] = matrix_of(0.0);
    uint mine = gl_SubgroupID * EACH;  // the first matrix of this subgroup
    bool any = mine < DOWN * ACROSS;
    uint down = any ? mine / ACROSS * MATRIX_M : 0, across = any ? mine % ACROSS * MATRIX_N : 0;
#else
    uint my_row = lane % 16, my_token = lane / 16, apart = 16;
    float sum[16];  // of token 4 i and row r: number 4 i + r
    [[unroll]] for (uint i = 0; i < 16; ++i) sum[i] = 0.0;
#endif

    for (uint chunk = 0; chunk < chunks; ++chunk) {
        barrier();
        if (lane < TILE) {
            float w[32];
#ifdef FLOATS
            if (chunk < cols / 32) {
                decode32(base, chunk, w);
            } else {
                [[unroll]] for (uint i = 0; i < 32; ++i)
                    w[i] = chunk * 32 + i < cols ? element(base, chunk * 32 + i) : 0.0;
            }
#else
            decode32(base, chunk, w);
#endif
            float down_ = 1.0;
#ifndef VARIANT_MATRIX
            // The largest in [32, 64), as the scales of halve.comp.
            uint top = 0;
            [[unroll]] for (uint i = 0; i < 32; ++i) top = max(top, floatBitsToUint(w[i]) & 0x7fffffffu);
            uint e = clamp(top >> 23, 10u, 254u);
            down_ = uintBitsToFloat((259u - e) << 23);
            w_scale[lane] = uintBitsToFloat(top < 0x7f800000u ? (e - 5u) << 23 : 0x7fc00000u);
#endif
            [[unroll]] for (uint i = 0; i < 16; ++i)
                w_tile[lane * LINE + i] = f16vec2(vec2(w[2 * i], w[2 * i + 1]) * down_);
        } else {
            for (uint i = lane - TILE; i < TILE * 4; i += LANES - TILE) {
                uint part = i % 4, t = i / 4;
                uvec4 four = x[row_of(min(first + t, count - 1)) * (chunks * 4 + 1) + chunk * 4 + part];
                [[unroll]] for (uint j = 0; j < 4; ++j)
                    x_tile[t * LINE + part * 4 + j] = unpackFloat2x16(four[j]);
            }
        }
        barrier();
#ifdef VARIANT_MATRIX
        for (uint k = 0; k < 32; k += MATRIX_K) {
            MatrixA tokens = LOAD_A(x_tile[down * LINE + k / 2], kRowMajor, LINE);
            [[unroll]] for (uint i = 0; i < kMost; ++i)
                if (i < EACH) {
                    MatrixB w = LOAD_B(w_tile[(across + i * MATRIX_N) * LINE + k / 2], kColumnMajor, LINE);
                    sum[i] = matrix_mul_add(tokens, w, sum[i]);
                }
        }
#else
        f16vec2 part[16];
        [[unroll]] for (uint i = 0; i < 16; ++i) part[i] = f16vec2(0.0);
        for (uint k = 0; k < 16; ++k) {
            f16vec2 w[4];
            [[unroll]] for (uint r = 0; r < 4; ++r) w[r] = w_tile[(my_row + apart * r) * LINE + k];
            [[unroll]] for (uint t = 0; t < 4; ++t) {
                f16vec2 one = x_tile[(my_token + apart * t) * LINE + k];
                [[unroll]] for (uint r = 0; r < 4; ++r) part[t * 4 + r] = fma(w[r], one, part[t * 4 + r]);
            }
        }
        [[unroll]] for (uint i = 0; i < 16; ++i)
            sum[i] = fma(float(part[i].x) + float(part[i].y), w_scale[my_row + apart * (i % 4)], sum[i]);
#endif
    }
#ifdef VARIANT_MATRIX
    [[unroll]] for (uint i = 0; i < kMost; ++i)
        if (i < EACH) {
            barrier();
            STORE_SUM(sums[gl_SubgroupID * SUM], sum[i], kRowMajor, MATRIX_N);
            barrier();
            if (any)
                for (uint j = gl_SubgroupInvocationID; j < SUM; j += gl_SubgroupSize)
                    put(down + j / MATRIX_N, across + i * MATRIX_N + j % MATRIX_N,
                        sums[gl_SubgroupID * SUM + j]);
        }
#else
    [[unroll]] for (uint t = 0; t < 4; ++t)
        [[unroll]] for (uint r = 0; r < 4; ++r) put(my_token + apart * t, my_row + apart * r, sum[t * 4 + r]);
#endif
}
