// A layer's page (src/backend/vulkan/kv.h): for each KV head [k_words][64], then [64][v_words].
#ifdef VARIANT_F32
const uint kInWord = 1;
#else
const uint kInWord = 2;
#endif
uint kv_words(uint dim) { return (dim + kInWord - 1) / kInWord; }
uint head_words(uint k_dim, uint v_dim) { return 64 * (kv_words(k_dim) + kv_words(v_dim)); }

// Where the page of a token's block lies; `group` of `groups` is that of the layer.
uint page_of(uint table_start, uint block, uint groups, uint group) {
    return batch[table_start + block * groups + group];
}
