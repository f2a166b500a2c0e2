#version 450
// Attention of HEADS query heads that share a KV head, of at most TOKENS neighbouring tokens of a sequence (a
// block of the batch), over the pages of the sequence: docs/numerics.md, "Attention", in its order. Of SPLITS
// subgroups each takes one of as many pages for the scores, then a part of the queries and of the dimensions
// for the output, whose sums run over positions.
// variants: F32 F16 Q8_0 Q4_0 F32_TEXELS F16_TEXELS Q8_0_TEXELS Q4_0_TEXELS
//
// For the scores a lane has the positions lane, lane + SUBGROUP, … of a page; for the output the units
// (kv.glsl) lane, lane + SUBGROUP, … of the values.
#include "common.glsl"
#include "kv.glsl"
#include "exact.glsl"
layout(constant_id = 0) const uint SUBGROUP = 32;
layout(constant_id = 1) const uint SPLITS = 1;
layout(constant_id = 2) const uint HEADS = 1;
layout(constant_id = 3) const uint V_UNITS = 1;   // of a lane
layout(constant_id = 4) const uint LANES = 32;    // SUBGROUP · SPLITS
layout(constant_id = 5) const uint TOKENS = 1;
layout(constant_id = 6) const bool SLOPES = false;
layout(constant_id = 7) const bool SINKS = false;
layout(constant_id = 8) const bool CAPPED = false;  // softcap
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
const uint CHUNK = 16;                 // pages; SPLITS divides it
// For the output the subgroups lie in UNIT_PARTS columns, which have every UNIT_PARTS-th unit, and in
// QUERY_PARTS rows, which have every QUERY_PARTS-th query. Some may be left over.
const uint UNIT_PARTS = V_UNITS < SPLITS ? V_UNITS : SPLITS, ROWS = SPLITS / UNIT_PARTS;
const uint QUERY_PARTS = QUERIES < ROWS ? QUERIES : ROWS;
const uint OWN = (QUERIES + QUERY_PARTS - 1) / QUERY_PARTS;
const uint OWN_UNITS = (V_UNITS + UNIT_PARTS - 1) / UNIT_PARTS;
const uint EACH = OWN_UNITS * kUnit;  // numbers of the output, of a query
const float kInvisible = -1.0;        // in the place of an exponential

// Of SPLITS pages: the scores' exponentials, their sums, the largest scores.
shared float weights[SPLITS > 1 ? SPLITS * QUERIES * 64 : 1];
shared float sums[SPLITS > 1 ? SPLITS * QUERIES : 1], tops[SPLITS > 1 ? SPLITS * QUERIES : 1];

uint lane = gl_SubgroupInvocationID, split_ = SPLITS > 1 ? gl_SubgroupID : 0;
uint own_unit = split_ % UNIT_PARTS, own_query = split_ / UNIT_PARTS;
uint kw, vw, ks, vs;
uint q_base[QUERIES], lo[QUERIES], hi[QUERIES], position_of[QUERIES];
float slope[QUERIES];
float s[QUERIES * POSITIONS];  // the page's scores, then their exponentials

float least() { return uintBitsToFloat(0xff800000u); }  // -infinity
// Not -0 instead of +0, as the definition has it, or the other way round: exp(x - m) is the same.
float larger(float a, float b) { return a > b ? a : b; }
float correction(float m, float next) { return m == least() ? 0.0 : exp_(m - next); }

uint own(uint n) { return min(own_query + n * QUERY_PARTS, QUERIES - 1); }
uint first_number(uint unit) { return ((own_unit + unit * UNIT_PARTS) * SUBGROUP + lane) * kUnit; }

// The tree over the striped sums of a page, in every lane: position i is in stripe i mod 16. The two lanes of
// an exchange add the same two numbers.
float page_sum(float x[POSITIONS]) {
    float sum = 0.0;
    if (SUBGROUP < 16) {  // a lane has the stripes lane and lane + 8
        float other = 0.0;
        [[unroll]] for (uint p = 0; p < POSITIONS; p += 2) {
            sum += x[p];
            other += x[(p + 1) % POSITIONS];
        }
        sum += other;
    } else {
        [[unroll]] for (uint n = 0; n < 4; ++n) {
            float part = x[16 * n / SUBGROUP];
            if (SUBGROUP > 16) part = subgroupShuffle(part, (lane & 15u) + 16 * n % SUBGROUP);
            sum += part;
        }
        sum += subgroupShuffleXor(sum, 8);
    }
    sum += subgroupShuffleXor(sum, 4);
    sum += subgroupShuffleXor(sum, 2);
    return sum + subgroupShuffleXor(sum, 1);
}

// A query's first score leaves, x becomes its last. What takes all in turn so is compiled once a query, not once
// a score, of which software devices have eight a lane.
void turn(uint n, float x) {
    [[unroll]] for (uint i = n * POSITIONS; i < (n + 1) * POSITIONS - 1; ++i) s[i] = s[i + 1];
    s[(n + 1) * POSITIONS - 1] = x;
}

bool visible(uint n, uint block, uint p) {
    uint position = block * 64 + p * SUBGROUP + lane;
    return position >= lo[n] && position < hi[n];
}

void score(uint block, uint k_base) {
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
        [[dont_unroll]] for (uint w = w0; w < min(w0 + SUBGROUP / kInWord, kw); ++w) {
            uint key[POSITIONS];
            [[unroll]] for (uint p = 0; p < POSITIONS; ++p)
                key[p] = page_word(k_base + w * 64 + p * SUBGROUP + lane);
#ifdef BLOCKS
            float scale_[POSITIONS];
            uint first_ = w * kInWord, scale_base = k_base + (kw + first_ / 64) * 64;
            [[unroll]] for (uint p = 0; p < POSITIONS; ++p) {
                if (first_ % 64 == 0) scales[p] = page_word(scale_base + p * SUBGROUP + lane);
                scale_[p] = kv_scale(scales[p], first_ / 32);
            }
            [[dont_unroll]]
#else
            [[unroll]]
#endif
            for (uint i = 0; i < kInWord; ++i) {
                float some[QUERIES];
#ifdef TEXELS  // on software devices an exchange costs more than a fetch
                uint d = w * kInWord + i;
                [[unroll]] for (uint n = 0; n < QUERIES; ++n)
                    some[n] = d < k_dim ? texelFetch(q, int(q_base[n] + d)).x * scale : 0.0;
#else
                [[unroll]] for (uint n = 0; n < QUERIES; ++n)
                    some[n] = subgroupBroadcast(part[n], kInWord * (w - w0) + i);
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
    if (!CAPPED && !SLOPES) return;
    [[unroll]] for (uint n = 0; n < QUERIES; ++n)
        for (uint p = 0; p < POSITIONS; ++p) {
            float x = s[n * POSITIONS];
            if (CAPPED) x = softcap * tanh_(quotient(x, softcap));
            float distance_ = abs(float(block * 64 + p * SUBGROUP + lane) - float(position_of[n]));
            if (SLOPES) x = fma(-slope[n], distance_, x);
            turn(n, x);
        }
}

float largest(uint n, uint block) {
    float top = least();
    [[unroll]] for (uint p = 0; p < POSITIONS; ++p)
        if (visible(n, block, p)) top = larger(top, s[n * POSITIONS + p]);
    return subgroupMax(top);
}

// Scores to exponentials; returns their sum.
float weigh(uint n, uint block, float most) {
    for (uint p = 0; p < POSITIONS; ++p)
        turn(n, visible(n, block, p) ? exp_(s[n * POSITIONS] - most) : kInvisible);
    float x[POSITIONS];
    [[unroll]] for (uint p = 0; p < POSITIONS; ++p) {
        float weight = s[n * POSITIONS + p];
        x[p] = weight == kInvisible ? 0.0 : weight;
    }
    return page_sum(x);
}

void main() {
    uint first = batch_word(kBlocks, 2 * gl_WorkGroupID.x);
    uint count = batch_word(kBlocks, 2 * gl_WorkGroupID.x + 1);
    uint kv_head = gl_WorkGroupID.y, first_head = kv_head * (heads / kv_heads) + gl_WorkGroupID.z * HEADS;
    kw = kv_words(k_dim);
    vw = kv_words(v_dim);
    ks = kv_scales(k_dim);
    vs = kv_scales(v_dim);
    uint low = 0xffffffffu, high = 0, table_start = batch_word(kTableStarts, first);
    [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
        uint t = first + min(n / HEADS, count - 1), head = first_head + n % HEADS;
        q_base[n] = (t * heads + head) * k_dim;
        uint position = batch_word(kPositions, t), end = causal != 0 ? position + 1 : batch_word(kEnds, t);
        uint behind = causal != 0 ? window - 1 : window / 2;
        hi[n] = window != 0 && causal == 0 ? min(end, position + behind + 1) : end;
        lo[n] = window != 0 && position > behind ? position - behind : 0;
        position_of[n] = position;
        slope[n] = SLOPES ? of_head[first_head + n % HEADS] : 0.0;
        low = min(low, lo[n]);
        high = max(high, hi[n]);
    }
    // Of the own queries: of the chunks before, and of this one.
    float all_most[OWN], all_sum[OWN], all_o[OWN * EACH], most[OWN], sum[OWN], o[OWN * EACH];
    [[unroll]] for (uint n = 0; n < OWN; ++n) {
        all_most[n] = least();
        all_sum[n] = 0.0;
    }
    [[unroll]] for (uint i = 0; i < OWN * EACH; ++i) all_o[i] = 0.0;
    uint first_page = low / 64, end_page = (high + 63) / 64;
    for (uint chunk = first_page / CHUNK * CHUNK; chunk < end_page; chunk += CHUNK) {
        float seen[QUERIES];
        [[unroll]] for (uint n = 0; n < QUERIES; ++n) seen[n] = least();
        [[unroll]] for (uint n = 0; n < OWN; ++n) {
            most[n] = least();
            sum[n] = 0.0;
        }
        [[unroll]] for (uint i = 0; i < OWN * EACH; ++i) o[i] = 0.0;
        uint begin = max(chunk, first_page), end = min(chunk + CHUNK, end_page);
        for (uint block0 = begin / SPLITS * SPLITS; block0 < end; block0 += SPLITS) {
            uint block = block0 + split_;
            bool live = SPLITS == 1 || block >= begin && block < end;
            if (live)
                score(block, page_of(table_start, block, groups, group) * page_words +
                                 kv_head * head_words(k_dim, v_dim));
            // The scores of a page are taken from the largest of the chunk up to its end.
            float sum_[QUERIES], now[QUERIES];
            if (SPLITS > 1) {
                [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
                    float top = live ? largest(n, block) : least();
                    if (lane == 0) tops[split_ * QUERIES + n] = top;
                }
                barrier();
            }
            [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
                if (SPLITS > 1)
                    for (uint j = 0; j < SPLITS; ++j) {
                        seen[n] = larger(seen[n], tops[j * QUERIES + n]);
                        if (j <= split_) now[n] = seen[n];
                    }
                else
                    now[n] = larger(most[n], largest(n, block));
                if (live) sum_[n] = weigh(n, block, now[n]);
            }
            if (SPLITS > 1) {
                [[unroll]] for (uint n = 0; n < QUERIES; ++n) {
                    [[unroll]] for (uint p = 0; p < POSITIONS; ++p)
                        weights[(split_ * QUERIES + n) * 64 + p * SUBGROUP + lane] = s[n * POSITIONS + p];
                    if (lane == 0) sums[split_ * QUERIES + n] = sum_[n];
                }
                barrier();
            }
            for (uint j = 0; j < SPLITS; ++j) {
                block = block0 + j;
                if (SPLITS > 1 && (block < begin || block >= end || own_query >= QUERY_PARTS)) continue;
                uint v_base = page_of(table_start, block, groups, group) * page_words +
                              kv_head * head_words(k_dim, v_dim) + (kw + ks) * 64;
                [[unroll]] for (uint n = 0; n < OWN; ++n) {
                    uint at = j * QUERIES + own(n);
                    float next = SPLITS > 1 ? larger(most[n], tops[at]) : now[n];
                    float shrink = correction(most[n], next);
                    sum[n] = fma(sum[n], shrink, SPLITS > 1 ? sums[at] : sum_[n]);
                    most[n] = next;
                    [[unroll]] for (uint i = 0; i < EACH; ++i) o[n * EACH + i] *= shrink;
                }
                uint from = block == first_page ? low % 64 : 0, to = min(64, high - block * 64);
                [[dont_unroll]] for (uint p = 0; p < POSITIONS; ++p) {
                    uint stop = min(to, (p + 1) * SUBGROUP);
                    [[dont_unroll]] for (uint at = max(from, p * SUBGROUP); at < stop; ++at) {
                        float weight[OWN];
                        [[unroll]] for (uint n = 0; n < OWN; ++n)
                            weight[n] = SPLITS > 1 ? weights[(j * QUERIES + own(n)) * 64 + at]
                                                   : subgroupBroadcast(s[n * POSITIONS], at % SUBGROUP);
                        [[unroll]] for (uint v = 0; v < OWN_UNITS; ++v) {
                            uint first_ = first_number(v), w = min(first_ / kInWord, vw - 1);
                            uint value = page_word(v_base + at * vw + w);
#ifdef BLOCKS
                            uint scales = page_word(v_base + vw * 64 + at * vs + w * kInWord / 64);
                            float scale_ = kv_scale(scales, w * kInWord / 32);
#endif
                            [[unroll]] for (uint i = 0; i < kUnit; ++i) {
                                float x = kv_number(value, first_ % kInWord + i);
#ifdef BLOCKS
                                x *= scale_;
#endif
                                // What a query does not see may be anything; one token's see the same.
                                [[unroll]] for (uint n = 0; n < OWN; ++n) {
                                    uint k = n * EACH + v * kUnit + i;
                                    float next = fma(weight[n], x, o[k]);
                                    o[k] = TOKENS > 1 && weight[n] == kInvisible ? o[k] : next;
                                }
                            }
                        }
                    }
                    // The next positions' come to where this loop reads them.
                    if (SPLITS == 1)
                        [[unroll]] for (uint i = 0; i + 1 < QUERIES * POSITIONS; ++i) s[i] = s[i + 1];
                }
            }
            if (SPLITS > 1) barrier();
        }
        [[unroll]] for (uint n = 0; n < OWN; ++n) {
            bool nothing = sum[n] == 0.0, alone = all_sum[n] == 0.0;
            float next = larger(all_most[n], most[n]);
            float a = exp_(all_most[n] - next), b = exp_(most[n] - next);
            float both = fma(all_sum[n], a, sum[n] * b);
            all_sum[n] = nothing ? all_sum[n] : alone ? sum[n] : both;
            all_most[n] = nothing ? all_most[n] : alone ? most[n] : next;
            [[unroll]] for (uint i = n * EACH; i < (n + 1) * EACH; ++i) {
                both = fma(all_o[i], a, o[i] * b);
                all_o[i] = nothing ? all_o[i] : alone ? o[i] : both;
            }
        }
    }
    if (own_query >= QUERY_PARTS) return;
    [[unroll]] for (uint m = 0; m < OWN; ++m) {
        uint n = own_query + m * QUERY_PARTS;
        if (n >= QUERIES || n / HEADS >= count) continue;
        uint head = first_head + n % HEADS, out_base = ((first + n / HEADS) * heads + head) * v_dim;
        float shrink = 1.0, below = all_sum[m];
        if (SINKS) {
            float sink = of_head[heads + head], top = larger(all_most[m], sink);
            shrink = exp_(all_most[m] - top);
            below = fma(below, shrink, exp_(sink - top));
        }
        [[unroll]] for (uint v = 0; v < OWN_UNITS; ++v)
            [[unroll]] for (uint i = 0; i < kUnit; ++i) {
                uint d = first_number(v) + i;
                float x = quotient(all_o[m * EACH + v * kUnit + i] * shrink, below);
                if (d < v_dim) y[out_base + d] = all_sum[m] == 0.0 ? 0.0 : x;
            }
    }
}
