// Access to the weights of one row, for the formats (src/backend/vulkan/weights.h has the layout).
//
// A format defines
//   // parts: BYTES …        the parts of a block, in file order
//   void unpack32(uint base, uint chunk, out uint q[8], out vec2 d, out ivec2 scale, out ivec2 low)
// which gives elements 32·chunk … of the row whose word 0 is at `base` as in docs/numerics.md ("Blocks"): element i is
// d.x · scale[i / 16] · q[i] - d.y · low[i / 16], q being signed bytes. SMALL_BLOCKS says that a block has 32 elements and no
// scales or minimums but 1, ONE_SCALE that both halves have the same, HAS_LOW that there are minimums. A format of floats
// says FLOATS and defines instead
//   void decode32(uint base, uint chunk, out float w[32])    the elements
//   vec4 four(uint base, uint i)                            elements i …, i being a multiple of 4; zeros behind the end of a
//                                                           row, which may have any length
// `blocks` is the number of blocks of a row. Loads cost more than arithmetic: four words that stand together are one load.
#ifdef VARIANT_TEXELS
#extension GL_EXT_samplerless_texture_functions : require
layout(set = 0, binding = 1) uniform utextureBuffer weight_texels;
#else
layout(set = 0, binding = 1) readonly buffer WeightBuffer { uint weights[]; };
layout(set = 0, binding = 1) readonly buffer WeightPairs { uvec2 pairs[]; };
layout(set = 0, binding = 1) readonly buffer WeightQuads { uvec4 quads[]; };
#endif

// Where word 0 of a row is.
uint row_base(uint row, uint row_words) { return row / 32u * row_words * 32u + row % 32u * 4u; }
// Word i of a row; words 2p and 2p + 1; words 4q … 4q + 3. The last words of the buffer: word i of `count`.
#ifdef VARIANT_TEXELS
uvec4 quad(uint base, uint q) { return texelFetch(weight_texels, int(base / 4u + q * 32u)); }
uvec2 pair(uint base, uint p) {
    uvec4 four = quad(base, p / 2u);
    return (p & 1u) == 0u ? four.xy : four.zw;
}
uint word(uint base, uint i) { return quad(base, i / 4u)[i % 4u]; }
uint last_word(uint count, uint i) {
    return texelFetch(weight_texels, textureSize(weight_texels) - int(count / 4u - i / 4u))[i % 4u];
}
#else
uvec4 quad(uint base, uint q) { return quads[base / 4u + q * 32u]; }
uvec2 pair(uint base, uint p) { return pairs[base / 2u + p / 2u * 64u + p % 2u]; }
uint word(uint base, uint i) { return weights[base + i / 4u * 128u + i % 4u]; }
uint last_word(uint count, uint i) { return weights[uint(weights.length()) - count + i]; }
#endif

// Words that a part of `bytes` bytes a block takes in a row: a multiple of four.
uint part_words(uint blocks, uint bytes) { return (blocks * bytes + 15u) / 16u * 4u; }

// f16 number `i` of a part that begins at word `part`.
float half_of(uint base, uint part, uint i) {
    vec2 two = unpackHalf2x16(word(base, part + i / 2u));
    return (i & 1u) == 0u ? two.x : two.y;
}
uint byte_of(uint base, uint part, uint i) { return (word(base, part + i / 4u) >> (8u * (i & 3u))) & 255u; }
// Byte `i` (0..3) of a word, as a signed number.
float signed_byte(uint w, uint i) { return float(int(w << (24u - 8u * i)) >> 24); }
// Bytes of 0 … 127 less `zero`, as signed bytes.
uint less(uint q, uint zero) { return ((q | 0x80808080u) - zero * 0x01010101u) ^ 0x80808080u; }
// Bits 0 … 3 to bit 0 of bytes 0 … 3.
uint bits_to_bytes(uint four) { return (four & 15u) * 0x00204081u & 0x01010101u; }
