// A layer's page (src/backend/vulkan/kv.h): for each KV head [k_words][64] keys, [k_scales][64], then values [64][v_words],
// [64][v_scales]. kInWord: dimensions in a word; kUnit: those of a value that a lane takes at once.
#if defined(VARIANT_F32_TEXELS)
#define TEXELS
#define VARIANT_F32
#elif defined(VARIANT_F16_TEXELS)
#define TEXELS
#define VARIANT_F16
#elif defined(VARIANT_Q8_0_TEXELS)
#define TEXELS
#define VARIANT_Q8_0
#elif defined(VARIANT_Q4_0_TEXELS)
#define TEXELS
#define VARIANT_Q4_0
#endif
#if defined(VARIANT_F32)
const uint kInWord = 1, kUnit = 1;
#elif defined(VARIANT_F16)
const uint kInWord = 2, kUnit = 2;
#elif defined(VARIANT_Q8_0)
#define BLOCKS
const uint kInWord = 4, kUnit = 4;
#elif defined(VARIANT_Q4_0)
#define BLOCKS
const uint kInWord = 8, kUnit = 4;
#endif
uint kv_words(uint dim) { return (dim + kInWord - 1) / kInWord; }
// Words of scales, each of two blocks of 32 dimensions.
#ifdef BLOCKS
uint kv_scales(uint dim) { return (dim + 63) / 64; }
float kv_scale(uint word, uint block) { return unpackHalf2x16(block % 2 == 0 ? word : word >> 16).x; }
#else
uint kv_scales(uint dim) { return 0; }
#endif
uint head_words(uint k_dim, uint v_dim) {
    return 64 * (kv_words(k_dim) + kv_scales(k_dim) + kv_words(v_dim) + kv_scales(v_dim));
}

// Number i of a word, in units of the scale if there is one.
float kv_number(uint word, uint i) {
#if defined(VARIANT_F32)
    return uintBitsToFloat(word);
#elif defined(VARIANT_F16)
    return unpackHalf2x16(word >> (16 * i)).x;
#elif defined(VARIANT_Q8_0)
    return float(int(word << (24 - 8 * i)) >> 24);
#elif defined(VARIANT_Q4_0)
    return float(int(word >> (4 * i) & 15u) - 8);
#endif
}

// Where the page of a token's block lies; `group` of `groups` is that of the layer.
uint page_of(uint table_start, uint block, uint groups, uint group) {
    return batch[table_start + block * groups + group];
}
