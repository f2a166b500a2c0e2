#version 450
// The products of matmul.comp, with the same sums, for many tokens: a workgroup has TILE rows and TILE tokens, whose chunks go
// through its memory STEP at a time; a lane has 4 x 4 of the sums, of floats four stripes of each.
// for each format
// variants: BUFFERS
// variants of quantised formats: DOTS
#include "common.glsl"
#include "exact.glsl"
layout(constant_id = 3) const uint KIND = 0;  // 1: rows grouped by expert; 2: a slab for each part of a row
layout(constant_id = 4) const bool BIAS = false;
layout(local_size_x = 256) in;
const bool EXPERTS = KIND == 1, HEADS = KIND == 2;

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
#include "decode.glsl"

const uint STEP = 2;
#ifdef FLOATS
const uint TILE = 32, LINE = 33;  // a number more than needed: lanes of a subgroup then meet in fewer banks
shared float w_tile[STEP * TILE * LINE], x_tile[STEP * TILE * LINE];
#else
#include "dot4.glsl"
#include "block_sum.glsl"
const uint TILE = 64, LINE = 9;
shared uint w_tile[STEP * TILE * LINE], x_tile[STEP * TILE * LINE];
shared ivec4 w_scale[STEP * TILE];  // scale and low
shared vec2 w_d[STEP * TILE];
shared vec4 x_tail[STEP * TILE];  // quantize.comp
#endif

void main() {
    // The lanes of a subgroup are neighbours.
    uint lane = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
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

    // The first lanes have a row each, of one of the chunks; the others bring activations.
    uint my_group = min((gl_WorkGroupID.x * TILE + lane % TILE) / 32, groups - 1);
    uint base = row_base((expert_groups + my_group) * 32 + lane % 32, row_words);
    float sum[16];  // of token 4 i and row r: number 4 i + r
#ifdef FLOATS
    uint my_row = lane / 4 % 8, my_token = lane / 32, apart = 8, stripes = lane % 4 * 4;
    vec4 s[16];
    [[unroll]] for (uint i = 0; i < 16; ++i) s[i] = vec4(0.0);
#else
    uint my_row = lane % 16, my_token = lane / 16, apart = 16;
    int s[16];
    float m[16];
    [[unroll]] for (uint i = 0; i < 16; ++i) {
        s[i] = 0;
        m[i] = 0.0;
        sum[i] = 0.0;
    }
#endif

    for (uint step = 0; step < chunks; step += STEP) {
        barrier();
        if (lane < TILE * STEP) {
            uint chunk = step + lane / TILE, at = lane * LINE;
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
            vec2 d = vec2(0.0);
            ivec2 scale = ivec2(0), low = ivec2(0);
            if (chunk < chunks) {
                unpack32(base, chunk, q, d, scale, low);
            } else {
                [[unroll]] for (uint i = 0; i < 8; ++i) q[i] = 0u;
            }
            [[unroll]] for (uint i = 0; i < 8; ++i) w_tile[at + i] = q[i];
            w_scale[lane] = ivec4(scale, low);
            w_d[lane] = d;
#endif
        } else {
#ifdef FLOATS
            for (uint i = lane - TILE * STEP; i < TILE * STEP * 32; i += 256 - TILE * STEP) {
                uint k = step * 32 + i % (STEP * 32), t = i / (STEP * 32);
                uint row = HEADS ? (first + min(t, count - 1 - first)) * begins + expert : begin + min(first + t, count - 1);
                x_tile[(i / 32 % STEP * TILE + t) * LINE + i % 32] = k < cols ? x[row * cols + k] : 0.0;
            }
#else
            for (uint i = lane - TILE * STEP; i < TILE * STEP * 3; i += 256 - TILE * STEP) {
                uint part = i % 3, chunk = step + i / 3 % STEP, t = i / (3 * STEP), to = i / 3 % STEP * TILE + t;
                uint row = HEADS ? (first + min(t, count - 1 - first)) * begins + expert : begin + min(first + t, count - 1);
                uvec4 four = chunk < chunks ? x_quads[(row * chunks + chunk) * 3 + part] : uvec4(0u);
                if (part == 2)
                    x_tail[to] = uintBitsToFloat(four);
                else
                    [[unroll]] for (uint j = 0; j < 4; ++j) x_tile[to * LINE + part * 4 + j] = four[j];
            }
#endif
        }
        barrier();
#ifdef FLOATS
        for (uint half_ = 0; half_ < 2 * STEP; ++half_) {
            // Numbers behind the end of a row are zeros on both sides, which changes no sum.
            uint at = half_ / 2 * TILE * LINE + half_ % 2 * 16 + stripes;
            vec4 w[4];
            [[unroll]] for (uint r = 0; r < 4; ++r)
                [[unroll]] for (uint i = 0; i < 4; ++i) w[r][i] = w_tile[at + (my_row + apart * r) * LINE + i];
            [[unroll]] for (uint t = 0; t < 4; ++t) {
                vec4 one;
                [[unroll]] for (uint i = 0; i < 4; ++i) one[i] = x_tile[at + (my_token + apart * t) * LINE + i];
                [[unroll]] for (uint r = 0; r < 4; ++r) s[t * 4 + r] = fma(w[r], one, s[t * 4 + r]);
            }
        }
#else
        for (uint c = 0; c < STEP; ++c) {
            ivec2 part[16];
            [[unroll]] for (uint i = 0; i < 16; ++i) part[i] = ivec2(0);
            [[unroll]] for (uint k = 0; k < 8; ++k) {
                uint w[4];
                [[unroll]] for (uint r = 0; r < 4; ++r) w[r] = w_tile[(c * TILE + my_row + apart * r) * LINE + k];
                [[unroll]] for (uint t = 0; t < 4; ++t) {
                    uint one = x_tile[(c * TILE + my_token + apart * t) * LINE + k];
                    [[unroll]] for (uint r = 0; r < 4; ++r) part[t * 4 + r][HALVES * k / 8] += dot4(w[r], one);
                }
            }
            [[unroll]] for (uint t = 0; t < 4; ++t) {
                vec4 tail = x_tail[c * TILE + my_token + apart * t];
                [[unroll]] for (uint r = 0; r < 4; ++r) {
                    uint row = c * TILE + my_row + apart * r, i = t * 4 + r;
                    ivec4 scale = w_scale[row];
                    add_chunk(scale.xy, scale.zw, part[i], tail, s[i], m[i]);
                    if ((step + c) % CHUNKS == CHUNKS - 1) {
                        sum[i] = add_term(block_term(w_d[row], tail.x, s[i], m[i]), sum[i]);
                        s[i] = 0;
                        m[i] = 0.0;
                    }
                }
            }
        }
#endif
    }
#ifdef FLOATS
    // The tree of docs/numerics.md: stripes 8 apart are two lanes away, 4 apart one.
    [[unroll]] for (uint i = 0; i < 16; ++i) {
        vec4 four = s[i] + subgroupShuffleXor(s[i], 2);
        four += subgroupShuffleXor(four, 1);
        sum[i] = (four.x + four.z) + (four.y + four.w);
    }
#endif
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        uint in_slab = gl_WorkGroupID.x * TILE + my_row + apart * r, row = first_row + in_slab;
        if (in_slab >= groups * 32 || row >= rows) continue;
        float b = BIAS ? bias[(EXPERTS ? expert * rows : 0) + row] : 0.0;
        uint stride = HEADS ? rows * begins : rows, column = HEADS ? expert * rows + row : row;
        [[unroll]] for (uint t = 0; t < 4; ++t) {
            uint token = first + my_token + apart * t;
#ifdef FLOATS
            if (t != lane % 4) continue;  // four lanes have the same sums
#endif
            if (token < count) y[(begin + token) * stride + column] = BIAS ? sum[t * 4 + r] + b : sum[t * 4 + r];
        }
    }
}
