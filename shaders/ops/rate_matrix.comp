#version 450
// How fast the device computes with cooperative matrices: eight chains of multiply-adds in each subgroup, `n` times,
// of small integers, so that a test can follow. A lane adds up those elements of the results of all subgroups whose
// number is its own modulo 64.
#include "common.glsl"
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define MATRIX_WORD float16_t
#include "cooperative_matrix.glsl"
layout(constant_id = 0) const uint SUBGROUP = 32;
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint n; };
layout(set = 0, binding = 1) writeonly buffer OutBuffer { float y[]; };

const uint SUM = MATRIX_M * MATRIX_N, kChains = 8;
shared float16_t a[MATRIX_M * MATRIX_K], b[MATRIX_N * MATRIX_K];
shared float sums[64 / SUBGROUP * SUM];

void main() {
    uint lane = gl_LocalInvocationID.x;
    for (uint i = lane; i < MATRIX_M * MATRIX_K; i += 64) a[i] = float16_t(int(i * 7 % 17) - 8);
    for (uint i = lane; i < MATRIX_N * MATRIX_K; i += 64) b[i] = float16_t(int(i * 5 % 13) - 6);
    barrier();
    MatrixA x = LOAD_A(a[0], kRowMajor, MATRIX_K);
    MatrixB w = LOAD_B(b[0], kColumnMajor, MATRIX_K);
    MatrixSum chain[kChains];
    [[unroll]] for (uint i = 0; i < kChains; ++i) chain[i] = matrix_of(float(i));
    for (uint k = 0; k < n; ++k)
        [[unroll]] for (uint i = 0; i < kChains; ++i) chain[i] = matrix_mul_add(x, w, chain[i]);
    [[unroll]] for (uint i = 1; i < kChains; ++i) chain[0] = matrix_add(chain[0], chain[i]);
    STORE_SUM(sums[gl_SubgroupID * SUM], chain[0], kRowMajor, MATRIX_N);
    barrier();
    float all = 0.0;
    for (uint i = lane; i < 64 / SUBGROUP * SUM; i += 64) all += sums[i];
    y[flat_index(64)] = all;
}
