// Sums of four products of signed bytes.
#ifdef VARIANT_DOTS
#extension GL_EXT_spirv_intrinsics : require
// SPV_KHR_integer_dot_product: OpSDotKHR of packed 4 x 8 bits.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int packed_dot(uint a, uint b, spirv_literal int format);
int dot4(uint a, uint b) { return packed_dot(a, b, 0); }
#else
int dot4(uint a, uint b) {
    int sum = 0;
    [[unroll]] for (int i = 0; i < 4; ++i) sum += bitfieldExtract(int(a), 8 * i, 8) * bitfieldExtract(int(b), 8 * i, 8);
    return sum;
}
#endif
