#version 450
// How fast the device computes: eight chains of multiply-adds in each lane, `n` times. The result keeps them alive.
// variants: F32 F16 INT8
#include "common.glsl"
#ifdef VARIANT_F16
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define T f16vec2
#elif defined(VARIANT_INT8)
#extension GL_EXT_spirv_intrinsics : require
// SPV_KHR_integer_dot_product: OpSDotKHR with packed 4 x 8 bits.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int dot4(int a, int b, spirv_literal int format);
#define T int
#else
#define T float
#endif
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint n; };
layout(set = 0, binding = 1) writeonly buffer OutBuffer { float y[]; };

void main() {
    T a[8], x = T(gl_LocalInvocationID.x);
    [[unroll]] for (uint i = 0; i < 8; ++i) a[i] = T(i);
    for (uint k = 0; k < n; ++k)
        [[unroll]] for (uint i = 0; i < 8; ++i) {
#ifdef VARIANT_INT8
            a[i] += dot4(a[i], x, 0);
#else
            a[i] = fma(a[i], x, x);
#endif
        }
    T all = a[0];
    [[unroll]] for (uint i = 1; i < 8; ++i) all += a[i];
#ifdef VARIANT_F16
    y[flat_index(64)] = float(all.x) + float(all.y);
#else
    y[flat_index(64)] = float(all);
#endif
}
