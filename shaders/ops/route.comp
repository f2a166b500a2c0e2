#version 450
// The best `used` experts of a row and their weights (graph::Routing). SCORE: 0 softmax of all, 1 sigmoid, 2 softmax of the
// chosen ones. An invocation a row.
#include "common.glsl"
#include "exact.glsl"
layout(constant_id = 0) const uint SCORE = 0;
layout(constant_id = 1) const bool BIAS = false;
layout(local_size_x = 32) in;
layout(push_constant) uniform Push {
    uint experts, used, domain, per_row, normalise, slots, groups, groups_used;
    float scale;
};
layout(set = 0, binding = 1) readonly buffer InBuffer { float x[]; };
layout(set = 0, binding = 2) buffer RoutingBuffer { uint routing[]; };
layout(set = 0, binding = 3) readonly buffer BiasBuffer { float bias[]; };

const uint kLeftOut = 0xff800000u;  // -infinity: of a group that does not take part

float number(uint i) { return uintBitsToFloat(routing[i]); }

// Of n numbers from `at` on.
void softmax(uint at, uint n) {
    float most = uintBitsToFloat(0xff800000u);  // a NaN shows in the sum
    for (uint i = 0; i < n; ++i) most = max(most, number(at + i));
    float s[16];
    [[unroll]] for (uint j = 0; j < 16; ++j) s[j] = 0.0;
    for (uint first = 0; first < n; first += 16)
        [[unroll]] for (uint j = 0; j < 16; ++j)
            if (first + j < n) {
                float p = exp_(number(at + first + j) - most);
                routing[at + first + j] = floatBitsToUint(p);
                s[j] += p;
            }
    float sum = tree(s);
    for (uint i = 0; i < n; ++i) routing[at + i] = floatBitsToUint(quotient(number(at + i), sum));
}

void main() {
    uint row = flat_index(32);
    if (row >= row_count(domain, per_row)) return;
    // What chooses: s + bias, in the row's own part behind the slots.
    uint choice = 4 * slots + experts + 1 + row * 2 * experts, scores = choice + experts, at = row * experts;
    for (uint e = 0; e < experts; ++e) {
        float v = x[at + e];
        routing[scores + e] = floatBitsToUint(SCORE == 1 ? quotient(1.0, 1.0 + exp_(-v)) : v);
    }
    if (SCORE == 0) softmax(scores, experts);
    for (uint e = 0; e < experts; ++e)
        routing[choice + e] = BIAS ? floatBitsToUint(number(scores + e) + bias[e]) : routing[scores + e];
    if (groups > 1) {
        uint n = experts / groups;
        for (uint left = groups; left > groups_used; --left) {
            uint worst = groups;
            float least = 0.0;
            for (uint g = 0; g < groups; ++g) {
                if (routing[choice + g * n] == kLeftOut) continue;
                uint first = choice + g * n, second = first;
                for (uint e = first + 1; e < choice + (g + 1) * n; ++e)
                    if (number(e) > number(first)) first = e;
                if (second == first) ++second;
                for (uint e = second + 1; e < choice + (g + 1) * n; ++e)
                    if (e != first && number(e) > number(second)) second = e;
                float worth = n > 1 ? number(first) + number(second) : number(first);
                if (worst == groups || worth <= least || isnan(worth) || isnan(least)) {
                    worst = g;
                    least = worth;
                }
            }
            if (worst == groups) break;
            for (uint e = worst * n; e < (worst + 1) * n; ++e) routing[choice + e] = kLeftOut;
        }
    }
    uint weights = slots + row * used;
    for (uint rank = 0; rank < used; ++rank) {
        uint best = experts;
        for (uint e = 0; e < experts; ++e) {
            bool taken = false;
            for (uint before = 0; before < rank; ++before) taken = taken || routing[row * used + before] == e;
            if (!taken && (best == experts || number(choice + e) > number(choice + best))) best = e;
        }
        routing[row * used + rank] = best;
        routing[weights + rank] = routing[scores + best];
    }
    if (SCORE == 2) softmax(weights, used);
    float sum = 0.0;
    for (uint rank = 0; rank < used; ++rank) sum += number(weights + rank);
    for (uint rank = 0; rank < used; ++rank) {
        float v = number(weights + rank);
        if (normalise != 0) v = quotient(v, sum + 1e-20);
        routing[weights + rank] = floatBitsToUint(v * scale);
    }
}
