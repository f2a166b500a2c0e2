#version 450
// Attention of HEADS query heads that share a KV head, of at most TOKENS neighbouring tokens of a sequence (a block of the
// batch), over the pages of the sequence, with an online softmax. SPLITS subgroups take turns with the pages and merge at
// the end.
// variants: F32 F16 Q8_0 Q4_0 F32_TEXELS F16_TEXELS Q8_0_TEXELS Q4_0_TEXELS
//
// For the scores a lane has the positions lane, lane + SUBGROUP, … of a page; for the output the units (kv.glsl) lane,
// lane + SUBGROUP, … of the values.
#include "common.glsl"
#include "kv.glsl"
layout(constant_id = 0) const uint SUBGROUP = 32;
layout(constant_id = 1) const uint SPLITS = 1;
layout(constant_id = 2) const uint HEADS = 1;
layout(constant_id = 3) const uint V_UNITS = 1;   // of a lane
layout(constant_id = 4) const uint LANES = 32;    // SUBGROUP · SPLITS
layout(constant_id = 5) const uint TOKENS = 1;
layout(constant_id = 6) const bool SLOPES = false;
layout(constant_id = 7) const bool SINKS = false;
layout(local_size_x_id = 4) in;
layout(push_constant) uniform Push {
    uint heads, kv_heads, k_dim, v_dim, page_words, groups, group, window;
    float scale, softcap;
    uint causal;
};
#ifdef TEXELS
layout(set = 0, binding = 1) uniform textureBuffer q;
layout(set = 0, binding = 2) uniform utextureBuffer pages;
uint page_word(uint i) { return texelFetch(pages, int(i)).x; }
#else
layout(set = 0, binding = 1) readonly buffer QBuffer { float q[]; };
layout(set = 0, binding = 2) readonly buffer PageBuffer { uint pages[]; };
uint page_word(uint i) { return pages[i]; }
#endif
layout(set = 0, binding = 3) writeonly buffer OutBuffer { float y[]; };
layout(set = 0, binding = 4) readonly buffer HeadBuffer { float of_head[]; };  // ALiBi slopes, then sinks

const uint QUERIES = HEADS * TOKENS;
const uint POSITIONS = 64 / SUBGROUP;  // of a page, of a lane
const float kNothing = -3.0e38;        // less than any score
shared float merged[SPLITS > 1 ? SPLITS * QUERIES * (V_UNITS * kUnit * SUBGROUP + 2) : 1];

void main() {
    uint lane = gl_SubgroupInvocationID, split_ = gl_SubgroupID;
    uint first = batch_word(kBlocks, 2 * gl_WorkGroupID.x), count = batch_word(kBlocks, 2 * gl_WorkGroupID.x + 1);
    uint kv_head = gl_WorkGroupID.y, first_head = kv_head * (heads / kv_heads) + gl_WorkGroupID.z * HEADS;
    uint kw = kv_words(k_dim), vw = kv_words(v_dim), ks = kv_scales(k_dim), vs = kv_scales(v_dim);
    uint q_base[QUERIES], hi[QUERIES], lo[QUERIES], out_base[QUERIES], here_[QUERIES];
    float slope[QUERIES];
    uint low = 0xffffffffu, high = 0, table_start = batch_word(kTableStarts, first);
    [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
        uint t = first + min(n / HEADS, count - 1), head = first_head + n % HEADS;
        q_base[n] = (t * heads + head) * k_dim;
        out_base[n] = (t * heads + head) * v_dim;
        uint position = batch_word(kPositions, t), end = causal != 0 ? position + 1 : batch_word(kEnds, t);
        uint behind = causal != 0 ? window - 1 : window / 2;
        hi[n] = window != 0 && causal == 0 ? min(end, position + behind + 1) : end;
        lo[n] = window != 0 && position > behind ? position - behind : 0;
        here_[n] = position;
        slope[n] = SLOPES ? of_head[first_head + n % HEADS] : 0.0;
        low = min(low, lo[n]);
        high = max(high, hi[n]);
    }
    float most[QUERIES], sum[QUERIES], o[QUERIES * V_UNITS * kUnit];
    [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
        most[n] = kNothing;
        sum[n] = 0.0;
    }
    [[unroll]] for (uint i = 0; i < QUERIES * V_UNITS * kUnit; ++i) o[i] = 0.0;

    for (uint block = low / 64 + split_; block * 64 < high; block += SPLITS) {
        uint k_base = page_of(table_start, block, groups, group) * page_words + kv_head * head_words(k_dim, v_dim);
        uint v_base = k_base + (kw + ks) * 64;
        float s[QUERIES * POSITIONS];
        [[unroll]] for (uint i = 0; i < QUERIES * POSITIONS; ++i) s[i] = 0.0;
#ifdef BLOCKS
        uint scales[POSITIONS];
#endif
        for (uint w0 = 0; w0 < kw; w0 += SUBGROUP / kInWord) {
            // Lanes have neighbouring dimensions of the queries and hand them to each other.
#ifndef TEXELS
            float part[QUERIES];
            uint d = w0 * kInWord + lane;
            [[unroll]] for (uint n = 0; n < QUERIES; ++n) part[n] = d < k_dim ? q[q_base[n] + d] * scale : 0.0;
#endif
            [[dont_unroll]] for (uint w = 0; w < SUBGROUP / kInWord; ++w) {
                if (w0 + w < kw) {
                    uint key[POSITIONS];
                    [[unroll]] for (uint p = 0; p < POSITIONS; ++p)
                        key[p] = page_word(k_base + (w0 + w) * 64 + p * SUBGROUP + lane);
#ifdef BLOCKS
                    float scale_[POSITIONS];
                    uint first_ = (w0 + w) * kInWord;
                    [[unroll]] for (uint p = 0; p < POSITIONS; ++p) {
                        if (first_ % 64 == 0) scales[p] = page_word(k_base + (kw + first_ / 64) * 64 + p * SUBGROUP + lane);
                        scale_[p] = kv_scale(scales[p], first_ / 32);
                    }
                    [[dont_unroll]]
#else
                    [[unroll]]
#endif
                    for (uint i = 0; i < kInWord; ++i) {
                        float some[QUERIES];
#ifdef TEXELS  // on software devices an exchange costs more than a fetch
                        uint d = (w0 + w) * kInWord + i;
                        [[unroll]] for (uint n = 0; n < QUERIES; ++n)
                            some[n] = d < k_dim ? texelFetch(q, int(q_base[n] + d)).x * scale : 0.0;
#else
                        [[unroll]] for (uint n = 0; n < QUERIES; ++n) some[n] = subgroupBroadcast(part[n], kInWord * w + i);
#endif
                        [[unroll]] for (uint p = 0; p < POSITIONS; ++p) {
                            float x = kv_number(key[p], i);
#ifdef BLOCKS
                            x *= scale_[p];
#endif
                            [[unroll]] for (uint n = 0; n < QUERIES; ++n)
                                s[n * POSITIONS + p] = fma(some[n], x, s[n * POSITIONS + p]);
                        }
                    }
                }
            }
        }
        [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
            float here = kNothing;
            [[unroll]] for (uint p = 0; p < POSITIONS; ++p) {
                uint position = block * 64 + p * SUBGROUP + lane, i = n * POSITIONS + p;
                if (softcap > 0.0) s[i] = softcap * tanh(s[i] / softcap);
                if (SLOPES) s[i] -= slope[n] * abs(float(position) - float(here_[n]));
                if (position < lo[n] || position >= hi[n]) s[i] = kNothing;
                here = max(here, s[i]);
            }
            float next = max(most[n], subgroupMax(here)), shrink = exp(most[n] - next);
            float add = 0.0;
            [[unroll]] for (uint p = 0; p < POSITIONS; ++p) {
                uint i = n * POSITIONS + p;
                s[i] = s[i] == kNothing ? 0.0 : exp(s[i] - next);
                add += s[i];
            }
            sum[n] = fma(sum[n], shrink, subgroupAdd(add));
            most[n] = next;
            [[unroll]] for (uint i = 0; i < V_UNITS * kUnit; ++i) o[n * V_UNITS * kUnit + i] *= shrink;
        }
        uint last = min(64, high - block * 64);
        [[unroll]] for (uint p = 0; p < POSITIONS; ++p)
            [[dont_unroll]] for (uint j = 0; j < SUBGROUP; ++j) {
                uint at = p * SUBGROUP + j;
                if (at >= last) break;
                float weight[QUERIES];
                [[unroll]] for (uint n = 0; n < QUERIES; ++n) weight[n] = subgroupBroadcast(s[n * POSITIONS + p], j);
                [[unroll]] for (uint v = 0; v < V_UNITS; ++v) {
                    uint first_ = (v * SUBGROUP + lane) * kUnit, w = min(first_ / kInWord, vw - 1);
                    uint value = page_word(v_base + at * vw + w);
#ifdef BLOCKS
                    float scale_ = kv_scale(page_word(v_base + vw * 64 + at * vs + w * kInWord / 64), w * kInWord / 32);
#endif
                    [[unroll]] for (uint i = 0; i < kUnit; ++i) {
                        float x = kv_number(value, first_ % kInWord + i);
#ifdef BLOCKS
                        x *= scale_;
#endif
                        [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
                            uint k = (n * V_UNITS + v) * kUnit + i;
                            o[k] = fma(weight[n], x, o[k]);
                        }
                    }
                }
            }
    }
    if (SPLITS > 1) {
        const uint each = V_UNITS * kUnit * SUBGROUP + 2;
        [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
            uint at = (split_ * QUERIES + n) * each;
            [[unroll]] for (uint i = 0; i < V_UNITS * kUnit; ++i)
                merged[at + 2 + i * SUBGROUP + lane] = o[n * V_UNITS * kUnit + i];
            if (lane == 0) {
                merged[at] = most[n];
                merged[at + 1] = sum[n];
            }
        }
        barrier();
        if (split_ != 0) return;
        [[unroll]] for (uint n = 0; n < QUERIES; ++n)
            for (uint other = 1; other < SPLITS; ++other) {
                uint at = (other * QUERIES + n) * each;
                float next = max(most[n], merged[at]), a = exp(most[n] - next), b = exp(merged[at] - next);
                sum[n] = sum[n] * a + merged[at + 1] * b;
                most[n] = next;
                [[unroll]] for (uint i = 0; i < V_UNITS * kUnit; ++i) {
                    uint k = n * V_UNITS * kUnit + i;
                    o[k] = o[k] * a + merged[at + 2 + i * SUBGROUP + lane] * b;
                }
            }
    }
    [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
        if (n / HEADS >= count) continue;
        float shrink = 1.0, below = sum[n];
        if (SINKS) {
            float sink = of_head[heads + first_head + n % HEADS], top = max(most[n], sink);
            shrink = exp(most[n] - top);
            below = fma(sum[n], shrink, exp(sink - top));
        }
        [[unroll]] for (uint v = 0; v < V_UNITS; ++v)
            [[unroll]] for (uint i = 0; i < kUnit; ++i) {
                uint d = (v * SUBGROUP + lane) * kUnit + i;
                if (d < v_dim) y[out_base[n] + d] = o[(n * V_UNITS + v) * kUnit + i] * shrink / below;
            }
    }
}
