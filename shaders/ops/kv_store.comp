#version 450
// Stores the keys and values of a batch in their pages, a word an invocation.
// variants: F32 F16
#include "common.glsl"
#include "kv.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint heads, k_dim, v_dim, page_words, groups, group; };
layout(set = 0, binding = 1) readonly buffer KBuffer { float k[]; };
layout(set = 0, binding = 2) readonly buffer VBuffer { float v[]; };
layout(set = 0, binding = 3) writeonly buffer PageBuffer { uint pages[]; };

uint pack_k(uint at, uint word, uint base, uint dim) {
#ifdef VARIANT_F32
    return floatBitsToUint(k[base + word]);
#else
    return packHalf2x16(vec2(k[base + 2 * word], 2 * word + 1 < dim ? k[base + 2 * word + 1] : 0.0));
#endif
}
uint pack_v(uint at, uint word, uint base, uint dim) {
#ifdef VARIANT_F32
    return floatBitsToUint(v[base + word]);
#else
    return packHalf2x16(vec2(v[base + 2 * word], 2 * word + 1 < dim ? v[base + 2 * word + 1] : 0.0));
#endif
}

void main() {
    uint kw = kv_words(k_dim), vw = kv_words(v_dim), each = kw + vw;
    uint i = flat_index(64), t = i / (heads * each);
    if (t >= batch[kTokens]) return;
    uint head = i / each % heads, w = i % each;
    uint position = batch_word(kPositions, t), at = position % 64;
    uint page = page_of(batch_word(kTableStarts, t), position / 64, groups, group);
    uint base = page * page_words + head * head_words(k_dim, v_dim);
    if (w < kw)
        pages[base + w * 64 + at] = pack_k(at, w, (t * heads + head) * k_dim, k_dim);
    else
        pages[base + kw * 64 + at * vw + (w - kw)] = pack_v(at, w - kw, (t * heads + head) * v_dim, v_dim);
}
