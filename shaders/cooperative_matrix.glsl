// Cooperative matrices (SPV_KHR_cooperative_matrix) of a subgroup: sum += a · b with a and b in f16 and sum in f32,
// of the device's shape (DeviceInfo::matrix), which is specialised. Whole subgroups only.
//
// Before it is included, MATRIX_WORD is what a and b are loaded from: float16_t, f16vec2 or f16vec4. A stride counts
// words for a load and floats for a store.
//
// glslang 12 knows the instructions by GL_EXT_spirv_intrinsics only. In a type, the first number stands for the
// float type of so many bits and the next two for specialisation constants: cmake/shader_compiler.cpp puts their ids.
#pragma use_vulkan_memory_model
#extension GL_EXT_spirv_intrinsics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
layout(constant_id = 10) const uint MATRIX_M = 16;
layout(constant_id = 11) const uint MATRIX_N = 16;
layout(constant_id = 12) const uint MATRIX_K = 16;

// SPIR-V's numbers: of scopes, uses and layouts.
const uint kWorkgroup = 2, kSubgroup = 3;
const uint kUseA = 0, kUseB = 1, kUseSum = 2;
const uint kRowMajor = 0, kColumnMajor = 1;

#define MATRIX_TYPE(bits, rows, columns, use) \
    spirv_type(extensions = ["SPV_KHR_cooperative_matrix"], capabilities = [6022], id = 4456, \
               bits, kSubgroup, rows, columns, use)
#define MatrixA MATRIX_TYPE(16, 10, 12, kUseA)
#define MatrixB MATRIX_TYPE(16, 12, 11, kUseB)
#define MatrixSum MATRIX_TYPE(32, 10, 11, kUseSum)

#define MATRIX_OP(number) \
    spirv_instruction(extensions = ["SPV_KHR_cooperative_matrix"], capabilities = [6022], id = number)
MATRIX_OP(4457)
MatrixA matrix_load_a(spirv_by_reference MATRIX_WORD from, uint order, uint stride, spirv_literal int access, uint scope);
MATRIX_OP(4457)
MatrixB matrix_load_b(spirv_by_reference MATRIX_WORD from, uint order, uint stride, spirv_literal int access, uint scope);
MATRIX_OP(4458)
void matrix_store(spirv_by_reference float to, MatrixSum sum, uint order, uint stride, spirv_literal int access,
                  uint scope);
MATRIX_OP(4459)
MatrixSum matrix_mul_add(MatrixA a, MatrixB b, MatrixSum sum);
spirv_instruction(id = 129)  // OpFAdd
MatrixSum matrix_add(MatrixSum a, MatrixSum b);
spirv_instruction(id = 80)  // OpCompositeConstruct
MatrixSum matrix_of(float all);

// The Vulkan memory model orders shared memory by barriers only where an access says that others see it: a load
// MakePointerVisible | NonPrivatePointer, a store MakePointerAvailable | NonPrivatePointer.
#define LOAD_A(from, order, stride) matrix_load_a(from, order, stride, 0x30, kWorkgroup)
#define LOAD_B(from, order, stride) matrix_load_b(from, order, stride, 0x30, kWorkgroup)
#define STORE_SUM(to, sum, order, stride) matrix_store(to, sum, order, stride, 0x28, kWorkgroup)
