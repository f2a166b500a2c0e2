#version 450
// Stores the keys and values of a batch in their pages. An invocation has a word, or, of the types with blocks, two blocks
// and the word of their scales (docs/numerics.md, "Attention").
// variants: F32 F16 Q8_0 Q4_0
#include "common.glsl"
#include "kv.glsl"
#include "exact.glsl"
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint heads, k_dim, v_dim, page_words, groups, group; };
layout(set = 0, binding = 1) readonly buffer KBuffer { float k[]; };
layout(set = 0, binding = 2) readonly buffer VBuffer { float v[]; };
layout(set = 0, binding = 3) writeonly buffer PageBuffer { uint pages[]; };

#ifdef BLOCKS
// The codes of 32 numbers; returns the bits of their f16 scale.
uint encode(float x[32], out uint code[32]) {
    float low = x[0], high = x[0];
    uint most = 0;
    [[unroll]] for (uint i = 0; i < 32; ++i) {
        low = min(low, x[i]);
        high = max(high, x[i]);
        most = max(most, floatBitsToUint(x[i]) & 0x7fffffffu);
    }
#ifdef VARIANT_Q8_0
    float scale = quotient(uintBitsToFloat(most), 127.0);
#else
    float scale = (high >= -low ? high : low) * -0.125;
#endif
    bool bad = most >= 0x7f800000u;  // NaN or infinite
    uint bits = bad ? 0x7e00u : f16_bits(clamp(scale, -65504.0, 65504.0));
    float d = unpackHalf2x16(bits).x;
    bool none = bad || d == 0.0;
    [[unroll]] for (uint i = 0; i < 32; ++i) {
#ifdef VARIANT_Q8_0
        code[i] = none ? 0u : uint(int(roundEven(clamp(quotient(x[i], d), -127.0, 127.0)))) & 255u;
#else
        code[i] = none ? 8u : uint(clamp(quotient(x[i], d) + 8.5, 0.0, 15.0));
#endif
    }
    return none && !bad ? 0u : bits;
}
#endif

void main() {
    uint kw = kv_words(k_dim), vw = kv_words(v_dim), ks = kv_scales(k_dim), vs = kv_scales(v_dim);
#ifdef BLOCKS
    uint k_parts = ks, each = ks + vs;
#else
    uint k_parts = kw, each = kw + vw;
#endif
    uint i = flat_index(64), t = i / (heads * each);
    if (t >= batch[kTokens]) return;
    uint head = i / each % heads, part = i % each;
    uint position = batch_word(kPositions, t), at = position % 64;
    uint page = page_of(batch_word(kTableStarts, t), position / 64, groups, group);
    // Where the keys' or values' words of this position begin, their scales', and how far each is from the next.
    uint to = page * page_words + head * head_words(k_dim, v_dim) + at, scale_to = to + 64 * kw, step = 64, dim = k_dim;
    bool values = part >= k_parts;
    if (values) {
        to += 64 * (kw + ks) - at + at * vw;
        scale_to += 64 * (ks + vw) - at + at * vs;
        part -= k_parts;
        step = 1;
        dim = v_dim;
    }
    uint from = (t * heads + head) * dim;
#ifdef BLOCKS
    uint scales = 0;
    for (uint half_ = 0; half_ < 2 && 64 * part + 32 * half_ < dim; ++half_) {
        float x[32];
        uint code[32], first = 64 * part + 32 * half_;
        [[unroll]] for (uint d = 0; d < 32; ++d) {
            uint n = first + d;
            x[d] = n >= dim ? 0.0 : values ? v[from + n] : k[from + n];
        }
        scales |= encode(x, code) << (16 * half_);
        [[unroll]] for (uint w = 0; w < 32 / kInWord; ++w) {
            uint word = 0;
            [[unroll]] for (uint d = 0; d < kInWord; ++d) word |= code[w * kInWord + d] << (d * (32 / kInWord));
            if (first + w * kInWord < dim) pages[to + (first / kInWord + w) * step] = word;
        }
    }
    pages[scale_to + part * step] = scales;
#else
    float x[2];
    for (uint d = 0; d < kInWord; ++d) {
        uint n = part * kInWord + d;
        x[d] = n >= dim ? 0.0 : values ? v[from + n] : k[from + n];
    }
#ifdef VARIANT_F32
    pages[to + part * step] = floatBitsToUint(x[0]);
#else
    pages[to + part * step] = f16_bits(x[0]) | f16_bits(x[1]) << 16;
#endif
#endif
}
